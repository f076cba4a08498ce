// What ptxas made of our kernels is what their design says: no local memory, 16-byte accesses, tensor cores where there
// are products. Checked in the shared object that users get, for each GPU that it is built for; the whole table goes to
// kernels.txt beside it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/cuda/device/cubin.h"
#include "tests/paths.h"

namespace trireme {
namespace {

const std::filesystem::path kObject = std::filesystem::path(TRIREME_BINARY).parent_path() / "libtrireme_cuda.so";

class KernelResources : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kObject)) GTEST_SKIP() << "needs nvcc: there is no " << kObject;
    if (kernels().empty()) GTEST_SKIP() << "sanitized builds hold PTX alone";
  }
  static const std::vector<CompiledKernel>& kernels() {
    static const std::vector<CompiledKernel> all = read_kernels(kObject);
    return all;
  }
};

TEST_F(KernelResources, EveryKernelIsThereForEveryGpu) {
  std::map<int, std::multiset<std::string>> names;
  for (const CompiledKernel& kernel : kernels()) names[kernel.arch].insert(kernel.name);
  ASSERT_TRUE(names.count(80) && names.count(90) && names.count(100));
  EXPECT_GE(names[80].size(), 90u);
  EXPECT_EQ(names[80], names[90]);
  EXPECT_EQ(names[80], names[100]);
}

// Spilled registers and arrays that could not be kept in registers are read and written as local memory.
TEST_F(KernelResources, NoKernelTouchesLocalMemory) {
  for (const CompiledKernel& kernel : kernels()) {
    EXPECT_EQ(kernel.count(sass::kLoadLocal), 0) << kernel.name << " on sm_" << kernel.arch;
    EXPECT_EQ(kernel.count(sass::kStoreLocal), 0) << kernel.name << " on sm_" << kernel.arch;
  }
}

// At 128 registers a block of 256 threads leaves room for another on its multiprocessor.
TEST_F(KernelResources, EveryKernelLeavesRoomForASecondBlock) {
  for (const CompiledKernel& kernel : kernels()) {
    EXPECT_GT(kernel.registers, 0) << kernel.name << " on sm_" << kernel.arch;
    if (kernel.name.find("attention") != std::string::npos) continue;  // theirs is a design of its own
    EXPECT_LE(kernel.registers, 128) << kernel.name << " on sm_" << kernel.arch;
  }
}

// How often an instruction has to stand in every kernel whose name begins like this.
struct Expectation {
  const char* kernel;
  std::uint32_t opcode;
  std::uint32_t bytes;
  int at_least;
};
constexpr Expectation kDesign[] = {
    // a pack of each input, a pack of the output
    {"map_elements<8, Gelu,", sass::kLoadGlobal, 16, 1},
    {"map_elements<8, Gelu,", sass::kStoreGlobal, 16, 1},
    {"map_elements<8, GeluGradient,", sass::kLoadGlobal, 16, 2},
    {"map_elements<4, Sum, float", sass::kLoadGlobal, 16, 2},
    {"swiglu_forward_kernel", sass::kLoadGlobal, 16, 2},
    {"swiglu_backward_kernel", sass::kLoadGlobal, 16, 3},
    {"swiglu_backward_kernel", sass::kStoreGlobal, 16, 2},
    {"dropout_kernel", sass::kLoadGlobal, 16, 2},
    {"rope_kernel", sass::kLoadGlobal, 16, 2},
    {"rope_kernel", sass::kStoreGlobal, 16, 2},
    // x, and then x and w; dy, x and w twice, and the residual
    {"rmsnorm_forward_kernel", sass::kLoadGlobal, 16, 3},
    {"layernorm_forward_kernel", sass::kLoadGlobal, 16, 5},
    {"rmsnorm_backward_input_kernel", sass::kLoadGlobal, 16, 7},
    {"layernorm_backward_input_kernel", sass::kLoadGlobal, 16, 7},
    // four rows at once, so that enough loads are under way
    {"sum_runs<8, 1, WeightTerms", sass::kLoadGlobal, 16, 8},
    {"sum_runs<8, 2, WeightTerms", sass::kLoadGlobal, 16, 8},
    {"sum_runs<8, 1, BiasTerms", sass::kLoadGlobal, 16, 4},
    {"add_gradients", sass::kLoadGlobal, 16, 5},  // and the table's entry
    {"statistics_kernel", sass::kLoadGlobal, 16, 1},
    {"attention_delta_kernel", sass::kLoadGlobal, 16, 2},
    // the whole of a block of 1024, without a loop
    {"block_sums", sass::kLoadGlobal, 16, 8},
    {"find_nonfinite_kernel", sass::kLoadGlobal, 16, 8},
    // master, m, v and gradient in, three of them out
    {"adamw_kernel", sass::kLoadGlobal, 16, 4},
    {"adamw_kernel", sass::kStoreGlobal, 16, 3},
};

TEST_F(KernelResources, TheInstructionsOfTheDesignAreThere) {
  for (const Expectation& expected : kDesign) {
    int found = 0;
    for (const CompiledKernel& kernel : kernels()) {
      if (!kernel.name.starts_with(expected.kernel)) continue;
      ++found;
      EXPECT_GE(kernel.count(expected.opcode, expected.bytes), expected.at_least)
          << kernel.name << " on sm_" << kernel.arch << ", opcode 0x" << std::hex << expected.opcode;
    }
    EXPECT_GE(found, 3) << "no kernel is called " << expected.kernel;
  }
}

// Attention on tensor cores: what one pass through a kernel's text does. A warp multiplies tiles of 16 x 8 x 16, an
// ldmatrix fetches 16 x 16 elements, a cp.async moves 8 of them; a block has 128 threads and walks in steps of 4096 / D
// keys or rows, of which two are under way.
struct AttentionDesign {
  std::string kernel;
  int products, fetches, copies;
};
std::vector<AttentionDesign> attention_design() {
  std::vector<AttentionDesign> all;
  for (const char* type : {"__nv_bfloat16", "__half"}) {
    for (const int d : {64, 128}) {
      const int step = 4096 / d;
      const int product = (step / 8) * (d / 16);  // of 16 rows with a step
      const int tile = 16 * d / 256, steps = step * d / 256;
      const int buffers = 4 * step * d / 1024;
      const std::string of = "<" + std::string(type) + ", " + std::to_string(d) + ">";
      // 32 rows a warp: q k^T, p v. q is fetched again each step.
      all.push_back({"attention_forward_kernel" + of, 2 * 2 * product, 2 * tile + 2 * steps, 128 * d / 1024 + buffers});
      // 16 rows a warp: q k^T, d_o v^T, ds k. k is fetched in both directions; q and d_o stay in registers.
      all.push_back({"attention_dq_kernel" + of, 3 * product, 2 * tile + 3 * steps, 2 * 64 * d / 1024 + buffers});
      // 16 keys a warp: k q^T, v d_o^T, p d_o, ds q. q and d_o are fetched in both directions.
      all.push_back({"attention_dkv_kernel" + of, 4 * product, 2 * tile + 4 * steps, 2 * 64 * d / 1024 + buffers});
    }
  }
  return all;
}

TEST_F(KernelResources, AttentionIsMadeOfTensorCoreProductsAndAsynchronousCopies) {
  const std::vector<PtxKernel> ptx = read_ptx_kernels(kObject);
  for (const AttentionDesign& design : attention_design()) {
    int found = 0;
    for (const PtxKernel& kernel : ptx) {
      if (kernel.name != design.kernel) continue;
      ++found;
      EXPECT_EQ(kernel.count("mma.sync.aligned.m16n8k16."), design.products) << kernel.name;
      EXPECT_EQ(kernel.count("mma.sync."), design.products) << kernel.name;
      EXPECT_EQ(kernel.count("ldmatrix.sync.aligned.m8n8.x4."), design.fetches) << kernel.name;
      EXPECT_EQ(kernel.count("cp.async.cg.shared.global "), design.copies) << kernel.name;  // 16 bytes always
    }
    EXPECT_EQ(found, 1) << design.kernel;
    for (const CompiledKernel& kernel : kernels()) {
      if (kernel.name != design.kernel) continue;
      ++found;
      EXPECT_GE(kernel.count(sass::kTensorCore), design.products) << kernel.name << " on sm_" << kernel.arch;
      EXPECT_GE(kernel.count(sass::kLoadMatrix), design.fetches) << kernel.name << " on sm_" << kernel.arch;
      EXPECT_GE(kernel.count(sass::kCopyToShared), design.copies) << kernel.name << " on sm_" << kernel.arch;
    }
    EXPECT_EQ(found, 4) << design.kernel;
  }
}

TEST_F(KernelResources, AreReported) {
  std::ofstream out(kObject.parent_path() / "kernels.txt");
  out << "gpu  regs  shared  instructions  ld16  ld  st16  st  mma  ldmatrix  cp.async  kernel\n";
  for (const CompiledKernel& kernel : kernels())
    out << std::setw(3) << kernel.arch << std::setw(6) << kernel.registers << std::setw(8) << kernel.shared_bytes
        << std::setw(14) << kernel.code.size() << std::setw(6) << kernel.count(sass::kLoadGlobal, 16) << std::setw(4)
        << kernel.count(sass::kLoadGlobal) << std::setw(6) << kernel.count(sass::kStoreGlobal, 16) << std::setw(4)
        << kernel.count(sass::kStoreGlobal) << std::setw(5) << kernel.count(sass::kTensorCore) << std::setw(10)
        << kernel.count(sass::kLoadMatrix) << std::setw(10) << kernel.count(sass::kCopyToShared) << "  " << kernel.name
        << "\n";
  EXPECT_TRUE(out.flush());
}

}  // namespace
}  // namespace trireme
