#include "tests/gpu/runtime/devices.h"

#include <fstream>

#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/gpu/runtime/scoped.h"
#include "tests/scratch.h"

namespace trireme::gpu {
namespace {

std::vector<int> visible(int devices, const char* list) {
  Settings settings;
  settings.devices = devices;
  settings.visible = list;
  settings.visible_is_set = true;
  return visible_devices(settings);
}

TEST(GpuDevices, CudaVisibleDevicesIsReadAsDocumented) {
  using List = std::vector<int>;
  EXPECT_EQ(visible(4, "2,0"), (List{2, 0}));
  EXPECT_EQ(visible(4, " 1 , 3"), (List{1, 3}));
  EXPECT_EQ(visible(4, "0,2,-1,1"), (List{0, 2}));
  EXPECT_EQ(visible(4, "0,9,1"), (List{0}));
  EXPECT_EQ(visible(4, "0,one"), (List{0}));
  EXPECT_EQ(visible(4, "1x"), List{});
  EXPECT_EQ(visible(4, ""), List{});
  EXPECT_EQ(visible(4, "-1"), List{});
  EXPECT_EQ(visible(4, "1,1"), List{});
  EXPECT_EQ(visible(4, uuid_of(3).c_str()), (List{3}));
  EXPECT_EQ(visible(4, uuid_of(3).substr(0, 12).c_str()), (List{3}));
  EXPECT_EQ(visible(4, "GPU-51a4"), List{});  // all of them
  EXPECT_EQ(visible(4, "MIG-51a4"), List{});
}

TEST(GpuDevices, AMachineMayHaveNoneOrADriverThatIsTooOld) {
  EXPECT_HOLDS({
    setenv("TRIREME_GPU_COUNT", "0", 1);
    int count = -7;
    HOLD(cudaGetDeviceCount(&count) == cudaErrorNoDevice && count == -7);
    void* memory = nullptr;
    HOLD(cudaMalloc(&memory, 1) == cudaErrorNoDevice);
    HOLD(cudaGetLastError() == cudaErrorNoDevice);
  });
  for (const char* version : {"0", "12040"})
    EXPECT_HOLDS({
      setenv("TRIREME_GPU_DRIVER", version, 1);
      int count = -7;
      HOLD(cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver && count == -7);
      int driver = -7;
      HOLD(cudaDriverGetVersion(&driver) == cudaSuccess && driver == std::atoi(version));
      HOLD(cudaRuntimeGetVersion(&driver) == cudaSuccess && driver / 1000 == 13);
    });
}

TEST(GpuDevices, AWrongOneIsRefused) {
  EXPECT_EQ(cudaSetDevice(99), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(-1), cudaErrorInvalidDevice);
  int device = -1;
  EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(device, 0);
  EXPECT_STREQ(cudaGetErrorName(cudaGetLastError()), "cudaErrorInvalidDevice");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
}

TEST(GpuDevices, AnExclusiveOneBelongsToOneProcess) {
  EXPECT_HOLDS({
    setenv("TRIREME_GPU_COMPUTE_MODE", "exclusive", 1);
    setenv("TRIREME_GPU_COUNT", "2", 1);
    setenv("PMIX_NAMESPACE", ("test" + std::to_string(::getpid())).c_str(), 1);
    int ready[2];
    HOLD(::pipe(ready) == 0);
    const pid_t other = ::fork();
    if (other == 0) {
      const char answer = cudaSetDevice(1) == cudaSuccess ? 'y' : 'n';
      if (::write(ready[1], &answer, 1) == 1) ::pause();
      ::_exit(1);
    }
    char answer = 0;
    HOLD(::read(ready[0], &answer, 1) == 1 && answer == 'y');
    HOLD(cudaSetDevice(1) == cudaErrorDevicesUnavailable);
    HOLD(cudaSetDevice(0) == cudaSuccess);
    ::kill(other, SIGKILL);
    ::waitpid(other, nullptr, 0);
    HOLD(cudaSetDevice(1) == cudaSuccess);  // free again, however its owner ended
  });
}

TEST(GpuDevices, SayWhatTheirArchitectureAllows) {
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_EQ(properties.major * 10 + properties.minor, 90);
  EXPECT_EQ(properties.sharedMemPerBlockOptin, 227U << 10);
  int value = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), cudaSuccess);
  EXPECT_EQ(value, 227 << 10);
  EXPECT_EQ(limits_of(80).shared_bytes_opt_in, 163 << 10);
  EXPECT_EQ(limits_of(80).multiprocessors, 108);
}

TEST(GpuDevices, TheReportSaysHowOftenTheHostWaited) {
  const ScratchFolder scratch;
  setenv("TRIREME_GPU_REPORT", (scratch / "report").c_str(), 0);  // stays as it is in the statement's process
  const std::string file = std::getenv("TRIREME_GPU_REPORT");
  EXPECT_HOLDS({
    const ScopedStream stream;
    for (int i = 0; i < 3; ++i) cudaStreamSynchronize(stream);
  });
  unsetenv("TRIREME_GPU_REPORT");
  std::ifstream lines(file);
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const nlohmann::json report = nlohmann::json::parse(line);
  EXPECT_EQ(report["report"], "host_synchronisations");
  EXPECT_EQ(report["cudaStreamSynchronize"], 4);  // and the scope's own
}

}  // namespace
}  // namespace trireme::gpu
