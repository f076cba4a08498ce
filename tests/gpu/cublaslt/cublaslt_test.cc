#include <cmath>
#include <cstring>
#include <random>

#include <cublasLt.h>

#include "tests/gpu/runtime/scoped.h"

namespace trireme::gpu {
namespace {

// Elements are multiples of 1/8 up to 2 in magnitude: every format holds them exactly.
std::size_t size_of(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }
void put(cudaDataType type, char* to, float value) {
  if (type == CUDA_R_16F) {
    const auto half = static_cast<_Float16>(value);
    std::memcpy(to, &half, 2);
  } else if (type == CUDA_R_16BF) {
    char bytes[4];
    std::memcpy(bytes, &value, 4);
    std::memcpy(to, bytes + 2, 2);
  } else {
    std::memcpy(to, &value, 4);
  }
}
double get(cudaDataType type, const char* from) {
  float value = 0;
  if (type == CUDA_R_16F) {
    _Float16 half;
    std::memcpy(&half, from, 2);
    value = static_cast<float>(half);
  } else if (type == CUDA_R_16BF) {
    std::memcpy(reinterpret_cast<char*>(&value) + 2, from, 2);
  } else {
    std::memcpy(&value, from, 4);
  }
  return static_cast<double>(value);
}
double unit_of(cudaDataType type) { return type == CUDA_R_32F ? 0x1p-24 : type == CUDA_R_16F ? 0x1p-11 : 0x1p-8; }

// A matrix on the device with its layout, and the same on the host. Gaps between columns stay unwritten.
struct Matrix {
  Matrix(cudaDataType element, cublasLtOrder_t order_of_elements, std::uint64_t row_count, std::uint64_t column_count,
         std::uint64_t gap, std::mt19937& random, bool filled = true)
      : type(element),
        order(order_of_elements),
        rows(row_count),
        columns(column_count),
        leading((order_of_elements == CUBLASLT_ORDER_COL ? row_count : column_count) + gap),
        lines(order_of_elements == CUBLASLT_ORDER_COL ? column_count : row_count),
        host(leading * lines * size_of(element)),
        device(host.size()) {
    for (std::uint64_t line = 0; line < lines; ++line) {
      const std::uint64_t length = order == CUBLASLT_ORDER_COL ? rows : columns;
      char* at = host.data() + line * leading * size_of(type);
      for (std::uint64_t i = 0; i < length; ++i)
        put(type, at + i * size_of(type), static_cast<float>(static_cast<int>(random() % 33) - 16) / 8.0F);
      if (filled)
        cudaMemcpy(device.at(line * leading * size_of(type)), at, length * size_of(type), cudaMemcpyHostToDevice);
    }
    cudaDeviceSynchronize();
    cublasLtMatrixLayoutCreate(&layout, type, rows, columns, static_cast<std::int64_t>(leading));
    const std::int32_t value = order;
    cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_ORDER, &value, sizeof value);
  }
  ~Matrix() { cublasLtMatrixLayoutDestroy(layout); }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  std::uint64_t place(std::uint64_t row, std::uint64_t column) const {
    return (order == CUBLASLT_ORDER_COL ? column * leading + row : row * leading + column) * size_of(type);
  }
  double at(std::uint64_t row, std::uint64_t column) const { return get(type, host.data() + place(row, column)); }
  double on_device(std::uint64_t row, std::uint64_t column) const {
    char element[4];
    cudaMemcpy(element, device.at(place(row, column)), size_of(type), cudaMemcpyDeviceToHost);
    return get(type, element);
  }

  cudaDataType type;
  cublasLtOrder_t order;
  std::uint64_t rows, columns, leading, lines;
  std::vector<char> host;
  ScopedBytes device;
  cublasLtMatrixLayout_t layout = nullptr;
};

struct Handle {
  Handle() { cublasLtCreate(&handle); }
  ~Handle() { cublasLtDestroy(handle); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator cublasLtHandle_t() const { return handle; }
  cublasLtHandle_t handle = nullptr;
};

struct Product {
  Product() { cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F); }
  ~Product() { cublasLtMatmulDescDestroy(description); }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) const {
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof value), CUBLAS_STATUS_SUCCESS);
  }
  cublasLtMatmulDesc_t description = nullptr;
};

cublasStatus_t run(const Handle& handle, const Product& product, const Matrix& a, const Matrix& b, const Matrix& c,
                   const Matrix& d, float alpha, float beta) {
  const cublasStatus_t status =
      cublasLtMatmul(handle, product.description, &alpha, a.device.memory, a.layout, b.device.memory, b.layout, &beta,
                     c.device.memory, c.layout, d.device.memory, d.layout, nullptr, nullptr, 0, nullptr);
  cudaDeviceSynchronize();
  return status;
}

double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
double gelu_slope(double x) { return (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5; }

struct Types {
  cudaDataType in, out;
};
const Types kTypes[] = {{CUDA_R_32F, CUDA_R_32F},
                        {CUDA_R_16BF, CUDA_R_16BF},
                        {CUDA_R_16BF, CUDA_R_32F},
                        {CUDA_R_16F, CUDA_R_16F},
                        {CUDA_R_16F, CUDA_R_32F}};

// k products and sums of fp32, each rounded once: (2 k + 4) units of the sum of magnitudes; then D's own rounding.
TEST(GpuCublasLt, EqualsThePlainProductInEveryLayoutTypeAndTransposition) {
  const Handle handle;
  std::mt19937 random(11);
  constexpr std::uint64_t kM = 13, kN = 7, kK = 21;
  for (const Types types : kTypes)
    for (int bits = 0; bits < 32; ++bits) {
      const bool turn_a = (bits & 1) != 0;
      const bool turn_b = (bits & 2) != 0;
      const auto order = [&](int bit) { return (bits & bit) != 0 ? CUBLASLT_ORDER_ROW : CUBLASLT_ORDER_COL; };
      const Matrix a(types.in, order(4), turn_a ? kK : kM, turn_a ? kM : kK, 3, random);
      const Matrix b(types.in, order(8), turn_b ? kN : kK, turn_b ? kK : kN, 0, random);
      const Matrix c(types.out, order(16), kM, kN, 1, random);
      const Matrix d(types.out, order(16), kM, kN, 2, random, false);
      const Product product;
      product.set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<std::int32_t>(turn_a ? CUBLAS_OP_T : CUBLAS_OP_N));
      product.set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<std::int32_t>(turn_b ? CUBLAS_OP_T : CUBLAS_OP_N));
      ASSERT_EQ(run(handle, product, a, b, c, d, 0.75F, 0.5F), CUBLAS_STATUS_SUCCESS);
      for (std::uint64_t row = 0; row < kM; ++row)
        for (std::uint64_t column = 0; column < kN; ++column) {
          double sum = 0.5 * c.at(row, column);
          double magnitudes = std::fabs(sum);
          for (std::uint64_t i = 0; i < kK; ++i) {
            const double term =
                0.75 * (turn_a ? a.at(i, row) : a.at(row, i)) * (turn_b ? b.at(column, i) : b.at(i, column));
            sum += term;
            magnitudes += std::fabs(term);
          }
          EXPECT_NEAR(d.on_device(row, column), sum,
                      (2 * kK + 4) * 0x1p-24 * magnitudes + unit_of(types.out) * std::fabs(sum))
              << "types " << types.in << " " << types.out << ", case " << bits << ", " << row << " " << column;
        }
    }
}

TEST(GpuCublasLt, EpiloguesAreWhatTheyAreCalled) {
  const Handle handle;
  std::mt19937 random(12);
  constexpr std::uint64_t kM = 11, kN = 6, kK = 9;
  for (const Types types : kTypes)
    for (const cublasLtEpilogue_t epilogue :
         {CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_GELU, CUBLASLT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_GELU_AUX,
          CUBLASLT_EPILOGUE_GELU_AUX_BIAS, CUBLASLT_EPILOGUE_DGELU, CUBLASLT_EPILOGUE_DGELU_BGRAD,
          CUBLASLT_EPILOGUE_BGRADA, CUBLASLT_EPILOGUE_BGRADB}) {
      const bool slope = epilogue == CUBLASLT_EPILOGUE_DGELU || epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD;
      const bool biased = (epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
      const Matrix a(types.in, CUBLASLT_ORDER_COL, kM, kK, 0, random);
      const Matrix b(types.in, CUBLASLT_ORDER_COL, kK, kN, 0, random);
      const Matrix d(types.out, CUBLASLT_ORDER_COL, kM, kN, 0, random, false);
      const Matrix aux(types.out, CUBLASLT_ORDER_COL, kM, kN, 16 - kM, random, slope);
      const Matrix bias(types.out, CUBLASLT_ORDER_COL, kM, 1, 0, random, biased);
      const Product product;
      product.set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(epilogue));
      product.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.device.memory);
      product.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux.device.memory);
      product.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{16});
      ASSERT_EQ(run(handle, product, a, b, d, d, 0.25F, 0.0F), CUBLAS_STATUS_SUCCESS) << epilogue;
      // Values are up to 8 in magnitude; a few dozen roundings of fp32, and the slope's own difference quotient.
      const double near = 1e-4;
      const double unit = unit_of(types.out);
      std::vector<double> row_sums(kM, 0.0);
      for (std::uint64_t row = 0; row < kM; ++row)
        for (std::uint64_t column = 0; column < kN; ++column) {
          double value = biased ? bias.at(row, 0) : 0;
          for (std::uint64_t i = 0; i < kK; ++i) value += 0.25 * a.at(row, i) * b.at(i, column);
          if ((epilogue & 128) != 0 && !slope) {
            EXPECT_NEAR(aux.on_device(row, column), value, near + unit * std::fabs(value));
          }
          if ((epilogue & CUBLASLT_EPILOGUE_GELU) != 0) value = gelu(value);
          if (slope) value *= gelu_slope(aux.at(row, column));
          EXPECT_NEAR(d.on_device(row, column), value, near + unit * std::fabs(value)) << epilogue;
          row_sums[row] += value;
        }
      for (std::uint64_t row = 0; epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD && row < kM; ++row)
        EXPECT_NEAR(bias.on_device(row, 0), row_sums[row], kN * near + unit * std::fabs(row_sums[row]));
      if (epilogue == CUBLASLT_EPILOGUE_BGRADA)
        for (std::uint64_t row = 0; row < kM; ++row) {
          double sum = 0;
          for (std::uint64_t i = 0; i < kK; ++i) sum += a.at(row, i);
          EXPECT_NEAR(bias.on_device(row, 0), sum, near + unit * std::fabs(sum));
        }
      if (epilogue == CUBLASLT_EPILOGUE_BGRADB)
        for (std::uint64_t column = 0; column < kN; ++column) {
          double sum = 0;
          for (std::uint64_t i = 0; i < kK; ++i) sum += b.at(i, column);
          EXPECT_NEAR(bias.on_device(column, 0), sum, near + unit * std::fabs(sum));
        }
    }
}

// Two products side by side in one call.
TEST(GpuCublasLt, BatchesLieAStrideApart) {
  const Handle handle;
  std::mt19937 random(13);
  const Matrix a(CUDA_R_32F, CUBLASLT_ORDER_COL, 3, 8, 0, random);  // two of [3, 4]
  const Matrix b(CUDA_R_32F, CUBLASLT_ORDER_COL, 4, 5, 0, random);  // the same for both
  const Matrix d(CUDA_R_32F, CUBLASLT_ORDER_COL, 3, 10, 0, random, false);
  const auto batch = [](const Matrix& matrix, std::uint64_t columns, std::int64_t stride) {
    const std::int32_t count = 2;
    cublasLtMatrixLayoutSetAttribute(matrix.layout, CUBLASLT_MATRIX_LAYOUT_COLS, &columns, sizeof columns);
    cublasLtMatrixLayoutSetAttribute(matrix.layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count);
    cublasLtMatrixLayoutSetAttribute(matrix.layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                                     sizeof stride);
  };
  batch(a, 4, 12);
  batch(b, 5, 0);
  batch(d, 5, 15);
  const Product product;
  ASSERT_EQ(run(handle, product, a, b, d, d, 1.0F, 0.0F), CUBLAS_STATUS_SUCCESS);
  for (std::uint64_t row = 0; row < 3; ++row)
    for (std::uint64_t column = 0; column < 10; ++column) {
      double sum = 0;
      for (std::uint64_t i = 0; i < 4; ++i) sum += a.at(row, column / 5 * 4 + i) * b.at(i, column % 5);
      EXPECT_NEAR(d.on_device(row, column), sum, 1e-5);
    }
}

TEST(GpuCublasLt, RefusesWhatTheDocumentationRefuses) {
  const Handle handle;
  std::mt19937 random(14);
  const Matrix a(CUDA_R_16BF, CUBLASLT_ORDER_COL, 8, 8, 0, random);
  const Matrix half(CUDA_R_16F, CUBLASLT_ORDER_COL, 8, 8, 0, random);
  const Matrix d(CUDA_R_16BF, CUBLASLT_ORDER_COL, 8, 8, 0, random);
  const Matrix wide(CUDA_R_32F, CUBLASLT_ORDER_COL, 8, 8, 0, random);
  const Matrix rows(CUDA_R_16BF, CUBLASLT_ORDER_ROW, 8, 8, 0, random);
  const Matrix small(CUDA_R_16BF, CUBLASLT_ORDER_COL, 8, 7, 0, random);
  const Product product;
  EXPECT_EQ(run(handle, product, a, half, d, d, 1, 0), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(run(handle, product, a, a, wide, d, 1, 0), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(run(handle, product, wide, wide, d, d, 1, 0), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(run(handle, product, a, small, d, d, 1, 0), CUBLAS_STATUS_INVALID_VALUE);
  product.set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_BIAS));
  EXPECT_EQ(run(handle, product, a, a, d, d, 1, 0), CUBLAS_STATUS_INVALID_VALUE);  // no bias
  product.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, d.device.memory);
  EXPECT_EQ(run(handle, product, a, a, rows, rows, 1, 0), CUBLAS_STATUS_NOT_SUPPORTED);
  product.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<std::int32_t>(CUDA_R_32F));
  EXPECT_EQ(run(handle, product, a, a, d, d, 1, 0), CUBLAS_STATUS_NOT_SUPPORTED);
  product.set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_GELU_AUX));
  product.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, d.device.memory);
  for (const std::int64_t leading : {0, 4, 12}) {
    product.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, leading);
    EXPECT_EQ(run(handle, product, a, a, d, d, 1, 0), CUBLAS_STATUS_INVALID_VALUE) << leading;
  }
  product.set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_RELU));
  EXPECT_EQ(run(handle, product, a, a, d, d, 1, 0), CUBLAS_STATUS_NOT_SUPPORTED);
  std::int32_t value = 0;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(product.description, CUBLASLT_MATMUL_DESC_TRANSA, &value, 8),
            CUBLAS_STATUS_INVALID_VALUE);
}

TEST(GpuCublasLt, AnAlgorithmHoldsForTheAlignmentAndWorkspaceItWasChosenFor) {
  const Handle handle;
  std::mt19937 random(15);
  const Matrix a(CUDA_R_16BF, CUBLASLT_ORDER_COL, 8, 16, 0, random);
  const Matrix b(CUDA_R_16BF, CUBLASLT_ORDER_COL, 8, 8, 0, random);
  const Matrix d(CUDA_R_16BF, CUBLASLT_ORDER_COL, 8, 8, 0, random, false);
  const std::uint64_t columns = 8;
  cublasLtMatrixLayoutSetAttribute(a.layout, CUBLASLT_MATRIX_LAYOUT_COLS, &columns, sizeof columns);
  const Product product;
  const ScopedBytes workspace(1 << 16);
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulPreferenceCreate(&preference);
  std::size_t most = workspace.bytes;
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);
  const auto multiply = [&](const cublasLtMatmulAlgo_t* algorithm, std::size_t offset, std::size_t bytes) {
    const float one = 1;
    const float zero = 0;
    const cublasStatus_t status = cublasLtMatmul(
        handle, product.description, &one, a.device.at(offset), a.layout, b.device.memory, b.layout, &zero,
        d.device.memory, d.layout, d.device.memory, d.layout, algorithm, workspace.memory, bytes, nullptr);
    cudaDeviceSynchronize();
    return status;
  };
  cublasLtMatmulHeuristicResult_t result;
  int found = 0;
  const auto choose = [&] {
    return cublasLtMatmulAlgoGetHeuristic(handle, product.description, a.layout, b.layout, d.layout, d.layout,
                                          preference, 1, &result, &found);
  };
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(found, 1);
  EXPECT_EQ(multiply(&result.algo, 0, workspace.bytes), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(&result.algo, 16, workspace.bytes), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(multiply(nullptr, 16, workspace.bytes), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(&result.algo, 0, result.workspaceSize - 1), CUBLAS_STATUS_INVALID_VALUE);
  const std::uint32_t aligned = 16;
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &aligned,
                                       sizeof aligned);
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(&result.algo, 16, workspace.bytes), CUBLAS_STATUS_SUCCESS);
  cublasLtMatmulPreferenceDestroy(preference);
}

TEST(GpuCublasLt, TwoStreamsMayNotShareAWorkspace) {
  EXPECT_FINDING(
      {
        const Handle handle;
        std::mt19937 random(16);
        const Matrix a(CUDA_R_32F, CUBLASLT_ORDER_COL, 4, 4, 0, random);
        const Matrix first(CUDA_R_32F, CUBLASLT_ORDER_COL, 4, 4, 0, random);
        const Matrix second(CUDA_R_32F, CUBLASLT_ORDER_COL, 4, 4, 0, random);
        const ScopedBytes workspace(1 << 12);
        const Product product;
        const ScopedStream streams[2];
        const float one = 1;
        const float zero = 0;
        int i = 0;
        for (const Matrix* d : {&first, &second})
          cublasLtMatmul(handle, product.description, &one, a.device.memory, a.layout, a.device.memory, a.layout, &zero,
                         d->device.memory, d->layout, d->device.memory, d->layout, nullptr, workspace.memory,
                         workspace.bytes, streams[i++]);
        cudaDeviceSynchronize();
      },
      "gpu stand-in: .*cublasLtMatmul");
}

TEST(GpuCublasLt, AHandleLeftBehindIsALeak) {
  EXPECT_FINDING(
      {
        cublasLtHandle_t handle = nullptr;
        cublasLtCreate(&handle);
      },
      "1 cuBLASLt handle.s. were not destroyed");
}

}  // namespace
}  // namespace trireme::gpu
