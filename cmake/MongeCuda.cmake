# The GPU backend: MONGE_CUDA and MONGE_CUDNN say what is wanted, MONGE_HAS_CUDA and MONGE_HAS_CUDNN what will be built.
# MONGE_CUDA=AUTO: where this machine has the toolkit and a GPU that runs the kernels, since they take minutes to
# compile. MONGE_CUDNN=AUTO: where cuDNN is found.
set(MONGE_CUDA AUTO CACHE STRING "The GPU backend: AUTO, ON or OFF")
set(MONGE_CUDNN AUTO CACHE STRING "cuDNN in the GPU backend: AUTO, ON or OFF")
set(MONGE_HAS_CUDA OFF)
set(MONGE_HAS_CUDNN OFF)

# The compute capabilities of this machine's GPUs, 8.0 and newer: "90" or "80;90".
set(MONGE_GPUS "")
find_program(MONGE_NVIDIA_SMI nvidia-smi)
mark_as_advanced(MONGE_NVIDIA_SMI)
if(MONGE_NVIDIA_SMI)
  execute_process(COMMAND ${MONGE_NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader
                  RESULT_VARIABLE failed OUTPUT_VARIABLE capabilities ERROR_QUIET)
  if(NOT failed)
    string(REGEX MATCHALL "[0-9]+\\.[0-9]" MONGE_GPUS "${capabilities}")
    list(TRANSFORM MONGE_GPUS REPLACE "\\." "")
    list(FILTER MONGE_GPUS INCLUDE REGEX "^([89].|...)$")
    list(REMOVE_DUPLICATES MONGE_GPUS)
  endif()
endif()

if(MONGE_CUDA STREQUAL "ON" OR (MONGE_CUDA STREQUAL "AUTO" AND MONGE_GPUS))
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(MONGE_NVCC nvcc HINTS /usr/local/cuda/bin $ENV{CUDA_HOME}/bin)
    if(MONGE_NVCC)
      set(CMAKE_CUDA_COMPILER ${MONGE_NVCC})
    endif()
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90)  # Ampere and Hopper; newer ones compile the code for Hopper at start
      if(MONGE_GPUS)
        list(TRANSFORM MONGE_GPUS APPEND "-real" OUTPUT_VARIABLE CMAKE_CUDA_ARCHITECTURES)
      endif()
    endif()
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know it
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit 12.0 REQUIRED)
    set(MONGE_HAS_CUDA ON)
  elseif(MONGE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "MONGE_CUDA=ON, but no CUDA compiler was found. Install the CUDA toolkit (12 or newer), or name "
                        "its compiler with CUDACXX=/path/to/nvcc or -DCMAKE_CUDA_COMPILER=...")
  endif()
endif()

if(MONGE_HAS_CUDA AND NOT MONGE_CUDNN STREQUAL "OFF")
  find_path(CUDNN_INCLUDE_DIR cudnn_backend.h HINTS $ENV{CUDNN_ROOT}/include ${CUDAToolkit_INCLUDE_DIRS})
  find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS $ENV{CUDNN_ROOT}/lib ${CUDAToolkit_LIBRARY_DIR}
                                                             ${CUDAToolkit_LIBRARY_ROOT}/lib)
  if(CUDNN_INCLUDE_DIR AND CUDNN_LIBRARY)
    set(MONGE_HAS_CUDNN ON)
  elseif(MONGE_CUDNN STREQUAL "ON")
    message(FATAL_ERROR "MONGE_CUDNN=ON, but cuDNN 9 was not found. Install it, or name its folder with CUDNN_ROOT=...")
  endif()
endif()
