// Programs as a user writes them, with nothing of the stand-in's in them: gpu_programs CLAIM.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <cuda_runtime.h>

#define MUST(condition)                                                            \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                \
    }                                                                              \
  } while (false)
#define CUDA(call) MUST((call) == cudaSuccess)

namespace {

constexpr int kCount = 1000;  // no multiple of a block

__constant__ float factors[2];

struct Scale {
  char which;
  double offset;
};

__global__ void scale(float* x, int n, Scale how) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] = x[i] * factors[static_cast<int>(how.which)] + static_cast<float>(how.offset);
}

template <class T>
__global__ void add(const T* a, T* b, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) b[i] += a[i];
}

__global__ void __launch_bounds__(64) reverse(float* x) {
  extern __shared__ float whole[];
  whole[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = whole[blockDim.x - 1 - threadIdx.x];
}

std::vector<float> numbers() {
  std::vector<float> values(kCount);
  for (int i = 0; i < kCount; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i);
  return values;
}

struct Device {
  float* x = nullptr;
  explicit Device(const std::vector<float>& values) {
    CUDA(cudaMalloc(&x, kCount * sizeof(float)));
    CUDA(cudaMemcpy(x, values.data(), kCount * sizeof(float), cudaMemcpyHostToDevice));
    CUDA(cudaDeviceSynchronize());
  }
  ~Device() { cudaFree(x); }
  std::vector<float> values() const {
    std::vector<float> host(kCount);
    CUDA(cudaMemcpy(host.data(), x, kCount * sizeof(float), cudaMemcpyDeviceToHost));
    return host;
  }
};

void vector() {
  const Device a(numbers());
  const Device b(numbers());
  add<float><<<(kCount + 127) / 128, 128>>>(a.x, b.x, kCount);
  CUDA(cudaGetLastError());
  MUST(b.values()[999] == 1998.0F);
  cudaFuncAttributes attributes;
  CUDA(cudaFuncGetAttributes(&attributes, reverse));
  MUST(attributes.maxThreadsPerBlock == 64);
  int blocks = 0;
  CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, add<float>, 128, 0));
  MUST(blocks > 0 && blocks <= 16);
}

void parameters() {
  const Device a(numbers());
  const float host[2] = {2.0F, 3.0F};
  CUDA(cudaMemcpyToSymbol(factors, host, sizeof host));
  CUDA(cudaDeviceSynchronize());
  scale<<<8, 128>>>(a.x, kCount, Scale{1, 0.5});
  CUDA(cudaGetLastError());
  MUST(a.values()[7] == 21.5F);
  cudaLaunchConfig_t configuration = {};
  configuration.gridDim = 8;
  configuration.blockDim = 128;
  CUDA(cudaLaunchKernelEx(&configuration, scale, a.x, kCount, Scale{0, 1.0}));
  MUST(a.values()[7] == 44.0F);
}

void shared() {
  const Device a(numbers());
  const int bytes = 100 << 10;
  MUST((reverse<<<1, 64, bytes>>>(a.x), cudaGetLastError()) == cudaErrorInvalidValue);
  CUDA(cudaFuncSetAttribute(reverse, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  reverse<<<1, 64, bytes>>>(a.x);
  CUDA(cudaGetLastError());
  MUST(a.values()[0] == 63.0F);
  MUST(cudaFuncSetAttribute(reverse, cudaFuncAttributeMaxDynamicSharedMemorySize, 300 << 10) == cudaErrorInvalidValue);
  MUST(cudaGetLastError() == cudaErrorInvalidValue);
}

void refusals() {
  const Device a(numbers());
  const auto refused = [](cudaError_t error) {
    return cudaGetLastError() == error && cudaGetLastError() == cudaSuccess;
  };
  add<float><<<1, 2048>>>(a.x, a.x, 1);
  MUST(refused(cudaErrorInvalidConfiguration));
  add<float><<<0, 32>>>(a.x, a.x, 1);
  MUST(refused(cudaErrorInvalidConfiguration));
  add<float><<<dim3(1, 70000), 32>>>(a.x, a.x, 1);
  MUST(refused(cudaErrorInvalidConfiguration));
  reverse<<<1, 65, 1024>>>(a.x);
  MUST(refused(cudaErrorLaunchOutOfResources));
  MUST(cudaLaunchKernel(reinterpret_cast<const void*>(&numbers), 1, 1, nullptr, 0, nullptr) ==
       cudaErrorInvalidDeviceFunction);
}

// Two streams; `waits`: the second waits for the first.
void two_streams(bool waits) {
  cudaStream_t first;
  cudaStream_t second;
  cudaEvent_t done;
  CUDA(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
  CUDA(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  CUDA(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
  {
    const Device a(numbers());
    const Device b(numbers());
    add<float><<<8, 128, 0, first>>>(a.x, b.x, kCount);
    CUDA(cudaEventRecord(done, first));
    if (waits) CUDA(cudaStreamWaitEvent(second, done));
    add<float><<<8, 128, 0, second>>>(b.x, a.x, kCount);
    CUDA(cudaDeviceSynchronize());
    MUST(a.values()[999] == 2997.0F);
  }
  CUDA(cudaEventDestroy(done));
  CUDA(cudaStreamDestroy(first));
  CUDA(cudaStreamDestroy(second));
}
void missing_event() { two_streams(false); }
void ordered() { two_streams(true); }

void host_access() {
  const Device a(numbers());
  std::printf("%f\n", static_cast<double>(a.x[0]));
}

void missing_function() {
  void* memory = nullptr;
  cudaMallocManaged(&memory, 16);
}

void early_free() {
  const Device a(numbers());
  void* pinned = nullptr;
  CUDA(cudaMallocHost(&pinned, kCount * sizeof(float)));
  CUDA(cudaMemcpyAsync(pinned, a.x, kCount * sizeof(float), cudaMemcpyDeviceToHost, nullptr));
  CUDA(cudaFreeHost(pinned));
}

void sticky() {
  const Device a(numbers());
  add<float><<<1, 32>>>(a.x, a.x, 1);
  CUDA(cudaDeviceSynchronize());
  add<float><<<1, 32>>>(a.x, a.x, 1);
  for (int i = 0; i < 2; ++i) MUST(cudaGetLastError() == cudaErrorIllegalAddress);
  MUST(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
  std::printf("sticky holds\n");
  std::fflush(stdout);
  std::_Exit(0);  // nothing can be freed any more
}

const struct {
  const char* name;
  void (*run)();
} kClaims[] = {{"vector", vector},
               {"parameters", parameters},
               {"shared", shared},
               {"refusals", refusals},
               {"missing_event", missing_event},
               {"ordered", ordered},
               {"host_access", host_access},
               {"missing_function", missing_function},
               {"early_free", early_free},
               {"sticky", sticky}};

}  // namespace

int main(int argc, char** argv) {
  for (const auto& claim : kClaims) {
    if (argc != 2 || std::strcmp(argv[1], claim.name) != 0) continue;
    claim.run();
    std::printf("%s holds\n", claim.name);
    return 0;
  }
  std::fprintf(stderr, "usage: gpu_programs CLAIM\n");
  return 2;
}
