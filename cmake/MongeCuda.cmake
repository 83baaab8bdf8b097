# The GPU backend: MONGE_CUDA and MONGE_CUDNN say what is wanted (AUTO: what is there), MONGE_HAS_CUDA and
# MONGE_HAS_CUDNN what will be built.
set(MONGE_CUDA AUTO CACHE STRING "The GPU backend: AUTO, ON or OFF")
set(MONGE_CUDNN AUTO CACHE STRING "cuDNN in the GPU backend: AUTO, ON or OFF")
set(MONGE_HAS_CUDA OFF)
set(MONGE_HAS_CUDNN OFF)

if(NOT MONGE_CUDA STREQUAL "OFF")
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
