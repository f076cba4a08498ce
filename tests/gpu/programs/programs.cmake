# Small CUDA programs as nvcc makes them from plain sources, run under the stand-in by its script: each claim ends with the
# exit code and the words that are given. Linked as a user's program is: with the real libraries.
add_executable(gpu_programs programs/programs.cu)
target_compile_options(gpu_programs PRIVATE --no-compress)
set_target_properties(gpu_programs PROPERTIES CUDA_ARCHITECTURES 80-virtual CUDA_RUNTIME_LIBRARY Shared)
target_link_options(gpu_programs PRIVATE -Wl,--enable-new-dtags)  # LD_LIBRARY_PATH comes before RUNPATH
if(TRIREME_SANITIZE)
  string(REPLACE "," ";" sanitizers ${TRIREME_SANITIZE})
  foreach(sanitizer ${sanitizers})
    target_compile_options(gpu_programs PRIVATE -Xcompiler=-fsanitize=${sanitizer})
  endforeach()
  target_link_options(gpu_programs PRIVATE -fsanitize=${TRIREME_SANITIZE})  # CUDA programs are linked by g++
endif()
function(program_test name exit text claim)
  add_test(NAME GpuProgram.${name}
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/programs/expect ${exit} "${text}"
      ${CMAKE_CURRENT_SOURCE_DIR}/run_with_gpu $<TARGET_FILE:gpu_programs> ${claim})
  set_tests_properties(GpuProgram.${name} PROPERTIES TIMEOUT 120 LABELS gpu ENVIRONMENT "${ARGN}")
  set_property(TEST GpuProgram.${name} APPEND PROPERTY ENVIRONMENT TRIREME_BUILD=${PROJECT_BINARY_DIR})
endfunction()
program_test(KernelsRunAsTheyWereCompiled 0 "vector holds" vector)
program_test(StructsGoByValueAndConstantsAreSymbols 0 "parameters holds" parameters)
program_test(AKernelMayAskForMoreSharedMemory 0 "shared holds" shared)
program_test(WhatADriverRefusesIsRefused 0 "refusals holds" refusals)
foreach(seed 1 2 3)
  program_test(AnEventThatIsNotWaitedForIsFoundWithSeed${seed} 86 "gpu stand-in: race between operations: .*nothing orders the two" missing_event TRIREME_GPU_SEED=${seed})
  program_test(WorkInOrderIsNotReportedWithSeed${seed} 0 "ordered holds" ordered TRIREME_GPU_SEED=${seed})
endforeach()
program_test(AHostAccessToDeviceMemoryIsFound 86 "host code read or wrote device memory" host_access)
program_test(AFunctionThatTheStandInLacksSaysItsName 86 "cudaMallocManaged of libcudart.so.13 was called" missing_function)
program_test(PinnedMemoryFreedUnderACopyIsFound 86 "was freed while cudaMemcpyAsync" early_free)
program_test(AStickyErrorStays 0 "sticky holds" sticky TRIREME_GPU_STICKY=700@2)
