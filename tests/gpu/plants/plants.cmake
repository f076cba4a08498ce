# Planted bugs: each ends as README.md's table says; without a plant the same tests report nothing.
file(GLOB plants CONFIGURE_DEPENDS plants/*.cc)
add_library(gpu_plants SHARED ${plants})
set_target_properties(gpu_plants PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${library_folder})
target_include_directories(gpu_plants SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS} ${nccl_include})
target_link_libraries(gpu_plants PRIVATE trireme_flags)

# plant_test(NAME EXIT TEXT FILTER): EXIT 86 is the stand-in's, 1 a wrong result or an error that the back end got.
function(plant_test name exit text filter)
  add_test(NAME GpuPlant.${name}
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/programs/expect ${exit} "${text}"
      ${CMAKE_CURRENT_SOURCE_DIR}/run_with_gpu $<TARGET_FILE:test_cuda_device> --gtest_filter=${filter})
  set_tests_properties(GpuPlant.${name} PROPERTIES TIMEOUT 300 LABELS gpu
    ENVIRONMENT "TRIREME_GPU_PLANT=${name};TRIREME_BUILD=${PROJECT_BINARY_DIR}")
endfunction()
# The same of a claim of tests/parallel/mpi_main.cc, over NCCL.
function(nccl_plant_test name ranks exit text claim)
  add_test(NAME GpuPlant.${name}
    COMMAND ${PROJECT_SOURCE_DIR}/tests/parallel/under_mpirun ${ranks} ${exit} "${text}"
      ${CMAKE_CURRENT_SOURCE_DIR}/run_with_gpu $<TARGET_FILE:test_mpi> ${claim} nccl)
  set_tests_properties(GpuPlant.${name} PROPERTIES SKIP_RETURN_CODE 77 PROCESSORS 2 TIMEOUT 130 LABELS gpu
    ENVIRONMENT "TRIREME_GPU_PLANT=${name};TRIREME_BUILD=${PROJECT_BINARY_DIR}")
endfunction()
set(parity OfEveryOp/CudaParity.ComputesWhatTheOracleDoes)
plant_test(barrier-missing-in-attention 86 "race in a block" ${parity}/attention_forward)
plant_test(barrier-missing-in-a-row-sum 86 "race in a block|uninitialised memory: kernel .*rmsnorm_forward" ${parity}/rmsnorm_forward)
plant_test(barrier-not-met-by-all 86 "a barrier under a predicate that not all lanes meet" ${parity}/rmsnorm_forward)
plant_test(copies-not-waited-for 86 "asynchronous copy in flight" ${parity}/attention_forward)
plant_test(tail-beyond-the-end 86 "uninitialised memory: kernel .*Gelu" ${parity}/gelu_forward)
plant_test(lanes-swapped-for-mma 1 "attention_forward: o, bf16.* of the tolerance" ${parity}/attention_forward)
plant_test(shuffle-under-divergence 86 "divergence: kernel .*rmsnorm_forward.* wait at line" ${parity}/rmsnorm_forward)
plant_test(blocks-that-write-the-same 86 "race between blocks" ${parity}/gelu_forward)
plant_test(vector-load-off-by-one 86 "misaligned access" ${parity}/gelu_forward)
plant_test(shared-memory-not-written 86 "uninitialised memory: kernel .*rmsnorm_forward" ${parity}/rmsnorm_forward)
plant_test(event-not-waited-for 86
  "uninitialised memory: cudaMemcpyAsync .* on stream 1|race between operations: cudaMemcpyAsync .* on stream 1 reads"
  CudaDevice.AnEventOrdersOneStreamBehindAnother)
plant_test(event-recorded-elsewhere 86 "host code writes pinned memory .*cudaMemcpyAsync .* reads"
  CudaDevice.MoreUploadsThanTheStagingRingHoldsWaitForOneAnother)
plant_test(wrong-kind-of-copy 1 "the kind says device to host" ${parity}/gelu_forward)
plant_test(copy-too-long 86 "out of bounds: cudaMemcpyAsync" ${parity}/gelu_forward)
plant_test(memory-never-freed 86 "left behind at exit" ${parity}/gelu_forward)
plant_test(less-memory-than-asked-for 86 "out of bounds" ${parity}/gelu_forward)
plant_test(memory-freed-too-early 1 "is no device memory in use" ${parity}/gelu_forward)
plant_test(shared-memory-not-asked-for 1 "bytes of dynamic shared memory, where" ${parity}/attention_forward)
plant_test(leading-dimension-off-by-one 86 "uninitialised memory: cublasLtMatmul" ${parity}/linear_forward)

# By somebody who did not write the stand-in.
plant_test(keys-of-another-group 1 "attention_forward: o, bf16.*H=6/2.* of the tolerance" ${parity}/attention_forward)
plant_test(mask-without-its-end 1 "attention_forward: o, bf16, bf16, causal.* of the tolerance" ${parity}/attention_forward)
plant_test(warp-barrier-missing 86 "race in a block: kernel .*attention_forward" ${parity}/attention_forward)
plant_test(tail-stored-too-far 1 "gelu_forward: behind an output .* beyond the end was written" ${parity}/gelu_forward)
plant_test(barrier-missing-behind-a-loop 86 "race in a block: kernel .*attention_dkv" ${parity}/attention_backward)
plant_test(shared-memory-one-element-short 86 "out of bounds: kernel .*attention_forward" ${parity}/attention_forward)
plant_test(grid-rounded-down 1 "gelu_forward: y, .* nan, should be" ${parity}/gelu_forward)
plant_test(kernel-on-the-default-stream 86 "uninitialised memory: kernel|kernel .* nothing orders the two"
  ${parity}/embedding_backward)
plant_test(host-buffer-filled-too-early 86 "host code writes pinned memory .*cudaMemcpyAsync .* reads"
  CudaDevice.MoreUploadsThanTheStagingRingHoldsWaitForOneAnother)
plant_test(host-buffer-read-too-early 86 "host code reads or writes pinned memory .*cudaMemcpyAsync .* writes"
  CudaDevice.AnUploadHasTakenItsSourceWhenItReturns)
plant_test(event-recorded-too-early 86 "host code writes pinned memory .*cudaMemcpyAsync .* reads"
  CudaDevice.MoreUploadsThanTheStagingRingHoldsWaitForOneAnother)
plant_test(sum-overwritten 1 "linear_backward_weight: dw, .* of the tolerance" ${parity}/linear_backward_weight)
nccl_plant_test(message-of-another-length 2 86 "NCCL operations do not match" results)
nccl_plant_test(another-collective-on-one-rank 2 86
  "NCCL operations do not match: rank . is in (all_reduce|broadcast) .*, rank . in (all_reduce|broadcast)" orders)
nccl_plant_test(collectives-in-another-order 2 86
  "NCCL operations do not match: rank . is in (all_reduce|broadcast) .*, rank . in (all_reduce|broadcast)" orders)
nccl_plant_test(like-collectives-in-another-order 2 1 "each call meets its own on the other ranks" orders)
