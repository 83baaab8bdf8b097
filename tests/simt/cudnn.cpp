// The calls of the emulated cuDNN, and what finalize makes of each kind of descriptor.
#include "simt/libraries/cudnn.h"

#include <algorithm>

#include "core/error.h"
#include "simt/cuda_runtime.h"
#include "simt/cudnn_descriptor.h"
#include "simt/cudnn_operations.h"
#include "simt/device_memory.h"

namespace monge::simt {
namespace {

/// What a caller holds. What others refer to lives on when it is destroyed.
struct Holder {
  std::shared_ptr<BackendDescriptor> descriptor;
};

std::string last_error;

template <class F>
cudnnStatus_t answer(F call) {
  try {
    call();
    return CUDNN_STATUS_SUCCESS;
  } catch (const CudnnRefusal& refusal) {
    last_error = refusal.reason;
    return refusal.status;
  }
}

std::shared_ptr<BackendDescriptor>& held(cudnnBackendDescriptor_t descriptor) {
  if (descriptor == nullptr) refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "a descriptor is null");
  return static_cast<Holder*>(descriptor)->descriptor;
}

const BackendDescriptor& finalized(cudnnBackendDescriptor_t descriptor, BackendDescriptor::Kind kind) {
  const BackendDescriptor& d = *held(descriptor);
  if (d.kind() != kind) refuse(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "a descriptor of another kind is needed");
  if (!d.finalized()) refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a descriptor is used before it is finalized");
  return d;
}

int current_device() {
  int device = 0;
  cudaGetDevice(&device);
  return device;
}

void check_handle(cudnnHandle_t handle) {
  if (handle == nullptr || handle->stream == nullptr) refuse(CUDNN_STATUS_BAD_PARAM, "there is no stream");
  if (handle->device != current_device()) {
    refuse(CUDNN_STATUS_BAD_PARAM,
           fmt::format("a handle of device {} is used while {} is current", handle->device, current_device()));
  }
}

// --- what descriptors mean ---

CudnnTensor tensor_of(const BackendDescriptor& d) {
  const auto four = [&](BackendDescriptor::Name name) {
    CudnnTensor::Dims out{};
    std::ranges::copy(d.all<std::int64_t>(name), out.begin());
    return out;
  };
  return {.uid = d.one<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID),
          .type = d.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE),
          .dims = four(CUDNN_ATTR_TENSOR_DIMENSIONS),
          .strides = four(CUDNN_ATTR_TENSOR_STRIDES),
          .alignment = d.one<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT),
          .internal = d.one<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL),
          .by_value = d.one<bool>(CUDNN_ATTR_TENSOR_IS_BY_VALUE)};
}

CudnnOperation operation_of(const BackendDescriptor& d) {
  CudnnOperation o;
  const auto reads = [&](BackendDescriptor::Name name) {
    if (d.has(name)) o.inputs.push_back(tensor_of(d.descriptor(name)));
  };
  switch (d.kind()) {
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: {
      const BackendDescriptor& how = d.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
      o.kind = CudnnOperation::Kind::pointwise;
      o.mode = how.one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
      o.precision = how.one<cudnnDataType_t>(CUDNN_ATTR_POINTWISE_MATH_PREC);
      o.axis = how.one<std::int64_t>(CUDNN_ATTR_POINTWISE_AXIS, -1);
      reads(CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
      reads(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
      reads(CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
      o.output = tensor_of(d.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
      break;
    }
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR: {
      const BackendDescriptor& how = d.descriptor(CUDNN_ATTR_OPERATION_REDUCTION_DESC);
      o.kind = CudnnOperation::Kind::reduction;
      o.reduction = how.one<cudnnReduceTensorOp_t>(CUDNN_ATTR_REDUCTION_OPERATOR);
      reads(CUDNN_ATTR_OPERATION_REDUCTION_XDESC);
      o.output = tensor_of(d.descriptor(CUDNN_ATTR_OPERATION_REDUCTION_YDESC));
      break;
    }
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
      o.kind = CudnnOperation::Kind::matmul;
      reads(CUDNN_ATTR_OPERATION_MATMUL_ADESC);
      reads(CUDNN_ATTR_OPERATION_MATMUL_BDESC);
      o.output = tensor_of(d.descriptor(CUDNN_ATTR_OPERATION_MATMUL_CDESC));
      break;
    default:
      o.kind = CudnnOperation::Kind::reshape;
      reads(CUDNN_ATTR_OPERATION_RESHAPE_XDESC);
      o.output = tensor_of(d.descriptor(CUDNN_ATTR_OPERATION_RESHAPE_YDESC));
  }
  return o;
}

/// Uid -> pointer.
std::map<std::int64_t, void*> pack_of(const BackendDescriptor& d) {
  const auto uids = d.all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = d.all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  if (uids.size() != pointers.size()) {
    refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{} uids and {} pointers", uids.size(), pointers.size()));
  }
  std::map<std::int64_t, void*> pack;
  for (std::size_t i = 0; i < uids.size(); ++i) {
    if (!pack.emplace(uids[i], pointers[i]).second) {
      refuse(CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES, fmt::format("uid {} is given twice", uids[i]));
    }
  }
  return pack;
}

void finalize(BackendDescriptor& d) {
  switch (d.kind()) {
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR: {
      std::vector<CudnnOperation> operations;
      for (const auto& each : d.descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS)) operations.push_back(operation_of(*each));
      d.program = std::make_shared<CudnnProgram>(std::move(operations));
      break;
    }
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      d.program = d.descriptor(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH).program;
      if (!d.program->is_forward() && !d.program->is_backward()) {
        refuse(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "no engine does this graph");
      }
      break;
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
      check_handle(d.one<cudnnHandle_t>(CUDNN_ATTR_EXECUTION_PLAN_HANDLE));
      d.program = d.descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).program;
      break;
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
      refuse(CUDNN_STATUS_NOT_SUPPORTED, "engines come from the heuristic alone");
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR: check_tensor(tensor_of(d)); break;
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR: pack_of(d); break;
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR: check_operation(operation_of(d)); break;
    default: break;
  }
}

// --- what a plan is given ---

void check_memory(const CudnnTensor& x, void* pointer) {
  const std::string name = fmt::format("tensor {}", x.uid);
  if (pointer == nullptr) refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, name + " is null");
  if (x.by_value) {
    if (device_memory().holds(pointer, sizeof(float))) {
      refuse(CUDNN_STATUS_BAD_PARAM, name + " is given by value, and by a pointer to the device");
    }
    return;
  }
  if (reinterpret_cast<std::uintptr_t>(pointer) % static_cast<std::uintptr_t>(x.alignment) != 0) {
    refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, fmt::format("{} is not aligned to {} bytes", name, x.alignment));
  }
  if (!device_memory().holds(pointer, static_cast<std::size_t>(x.bytes()))) {
    refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: its {} bytes are not all memory of the device", name, x.bytes()));
  }
}

void execute(cudnnHandle_t handle, const BackendDescriptor& plan, const BackendDescriptor& pack) {
  check_handle(handle);
  const auto program = plan.program;
  std::map<std::int64_t, void*> memory = pack_of(pack);
  for (const auto& [uid, pointer] : memory) {
    if (!program->given().contains(uid)) {
      refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("the graph has no tensor {}", uid));
    }
  }
  std::map<std::int64_t, double> numbers;
  for (const auto& [uid, tensor] : program->given()) {
    if (!memory.contains(uid)) refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("tensor {} is not given", uid));
    check_memory(tensor, memory.at(uid));
    if (tensor.by_value) numbers[uid] = *static_cast<const float*>(memory.at(uid));
  }
  void* const workspace = pack.one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  const auto bytes = static_cast<std::size_t>(program->workspace_bytes());
  if (bytes > 0 && !device_memory().holds(workspace, bytes)) {
    refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("the workspace is not {} bytes of the device", bytes));
  }
  CudnnLibrary& library = cudnn_library();
  const bool wrong = program->is_forward() ? library.wrong_forward : library.wrong_backward;
  ++library.executed;
  handle->stream->enqueue([=] { program->run(memory, numbers, workspace, wrong); });
}

}  // namespace

CudnnLibrary& cudnn_library() {
  static CudnnLibrary one;
  return one;
}

std::size_t cudnnGetVersion() { return cudnn_library().version; }

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS: return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED: return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_BAD_PARAM_NULL_POINTER: return "CUDNN_STATUS_BAD_PARAM_NULL_POINTER";
    case CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER: return "CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER";
    case CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED: return "CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED";
    case CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND: return "CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND";
    case CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH: return "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH";
    case CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES: return "CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES";
    case CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE: return "CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE";
    case CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE: return "CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE";
    case CUDNN_STATUS_NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN: return "CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN";
  }
  return "?";
}

void cudnnGetLastErrorString(char* message, std::size_t max_size) {
  if (max_size == 0) return;
  message[last_error.copy(message, max_size - 1)] = '\0';
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = nullptr;
  if (!cudnn_library().starts) return CUDNN_STATUS_NOT_INITIALIZED;
  *handle = new CudnnContext{.device = current_device()};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, Queue* stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  return answer([&] { *descriptor = new Holder{std::make_shared<BackendDescriptor>(type)}; });
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete static_cast<Holder*>(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t count, const void* elements) {
  return answer([&] {
    BackendDescriptor& d = *held(descriptor);
    if (elements == nullptr) refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "an attribute is given a null pointer");
    if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) return d.set(name, type, count, elements);
    std::vector<BackendDescriptor::Shared> descriptors;
    for (std::int64_t i = 0; i < count; ++i) {
      descriptors.push_back(held(static_cast<const cudnnBackendDescriptor_t*>(elements)[i]));
    }
    d.set(name, std::move(descriptors));
  });
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  return answer([&] {
    BackendDescriptor& d = *held(descriptor);
    d.check_complete();
    finalize(d);
    d.finalize();
  });
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t requested, std::int64_t* count,
                                       void* elements) {
  return answer([&] {
    const BackendDescriptor& d = finalized(descriptor, held(descriptor)->kind());
    const auto give = [&](const std::vector<std::int64_t>& values) {
      if (type != CUDNN_TYPE_INT64) refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "the attribute has type int64");
      *count = std::ssize(values);
      std::copy_n(values.begin(), std::min(requested, *count), static_cast<std::int64_t*>(elements));
    };
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS && d.kind() == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) {
      *count = 1;
      if (requested < 1) return;
      auto& engine = held(*static_cast<cudnnBackendDescriptor_t*>(elements));
      if (engine->kind() != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) {
        refuse(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "results are engine configurations");
      }
      engine->program = d.program;
      engine->finalize();
    } else if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE &&
               d.kind() == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
      give({d.program->workspace_bytes()});
    } else if (name == CUDNN_ATTR_TENSOR_DIMENSIONS || name == CUDNN_ATTR_TENSOR_STRIDES) {
      give(d.all<std::int64_t>(name));
    } else {
      refuse(CUDNN_STATUS_NOT_SUPPORTED, fmt::format("attribute {} cannot be read", static_cast<int>(name)));
    }
  });
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
  return answer([&] {
    execute(handle, finalized(plan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR),
            finalized(pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR));
  });
}

}  // namespace monge::simt
