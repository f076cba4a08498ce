#include "tests/gpu/cublaslt/matmul.h"

#include <vector>

#include "tests/gpu/cublaslt/product.h"

namespace trireme::gpu::cublaslt {
namespace {

class Batch {
 public:
  Batch(Gpu& gpu, const Operation& operation, const Problem& problem, const Operands& operands, int number)
      : gpu_(gpu), operation_(operation), problem_(problem), operands_(operands), number_(number) {}

  void run() {
    const View a = turned(problem_.a, operands_.a, problem_.description.transpose_a);
    const View b = turned(problem_.b, operands_.b, problem_.description.transpose_b);
    sums_ = multiply(a, b, problem_.m, problem_.n, problem_.k);
    for (float& value : sums_) value *= operands_.alpha;
    if (operands_.beta != 0) add_c();
    if (problem_.adds_bias()) add_bias();
    if (problem_.gelu_gradient()) multiply_by_gradient();
    if (problem_.aux() && problem_.gelu()) write_aux();
    if (problem_.gelu())
      for (float& value : sums_) value = gelu(value);
    if (problem_.bias_gradient()) write_sums(View{bytes_of_sums(), CUDA_R_32F, 1, problem_.m}, problem_.m, problem_.n);
    if (problem_.sums_a()) write_sums(a, problem_.m, problem_.k);
    if (problem_.sums_b()) write_sums(transposed(b), problem_.n, problem_.k);
    write_d();
  }

 private:
  const std::byte* bytes_of_sums() const { return reinterpret_cast<const std::byte*>(sums_.data()); }

  const std::byte* start(const Layout& layout, const std::byte* matrix) const {
    return matrix + number_ * layout.batch_stride * static_cast<std::int64_t>(bytes_of(layout.type));
  }

  // Calls each with the address and bytes of a run of elements that lie side by side.
  static void runs(const Layout& layout, const std::byte* matrix, auto&& each) {
    const bool columns = layout.order == CUBLASLT_ORDER_COL;
    const std::uint64_t length = (columns ? layout.rows : layout.columns) * bytes_of(layout.type);
    const std::uint64_t lines = columns ? layout.columns : layout.rows;
    const std::uint64_t step = static_cast<std::uint64_t>(layout.leading) * bytes_of(layout.type);
    if (step == length) return each(matrix, length * lines);
    for (std::uint64_t line = 0; line < lines; ++line) each(matrix + line * step, length);
  }

  View read(const Layout& layout, const std::byte* matrix) const {
    runs(layout, matrix, [&](const std::byte* at, std::uint64_t bytes) { gpu_.global.read(operation_, at, bytes); });
    return view(layout, gpu_.global.host_view(matrix));
  }

  View turned(const Layout& layout, const std::byte* matrix, std::int32_t operation) const {
    const View whole = read(layout, start(layout, matrix));
    return operation == CUBLAS_OP_N ? whole : transposed(whole);
  }

  float& sum(std::uint64_t row, std::uint64_t column) { return sums_[column * problem_.m + row]; }

  void add_c() {
    const View c = read(problem_.c, start(problem_.c, operands_.c));
    for (std::uint64_t column = 0; column < problem_.n; ++column)
      for (std::uint64_t row = 0; row < problem_.m; ++row) sum(row, column) += operands_.beta * c.at(row, column);
  }

  std::byte* bias() const {
    return static_cast<std::byte*>(problem_.description.bias) +
           number_ * problem_.description.bias_batch_stride * static_cast<std::int64_t>(bytes_of(problem_.d.type));
  }

  void add_bias() {
    const std::byte* values = gpu_.global.read(operation_, bias(), problem_.m * bytes_of(problem_.d.type));
    for (std::uint64_t column = 0; column < problem_.n; ++column)
      for (std::uint64_t row = 0; row < problem_.m; ++row)
        sum(row, column) += read_element(problem_.d.type, values, row);
  }

  Layout aux_layout() const {
    Layout layout = problem_.d;
    layout.leading = problem_.description.aux_leading;
    layout.batch_stride = problem_.description.aux_batch_stride;
    return layout;
  }

  void multiply_by_gradient() {
    const Layout layout = aux_layout();
    const View input = read(layout, start(layout, static_cast<const std::byte*>(problem_.description.aux)));
    for (std::uint64_t column = 0; column < problem_.n; ++column)
      for (std::uint64_t row = 0; row < problem_.m; ++row) sum(row, column) *= gelu_gradient(input.at(row, column));
  }

  void write(const Layout& layout, const std::byte* matrix) {
    runs(layout, matrix, [&](const std::byte* at, std::uint64_t bytes) {
      gpu_.global.write(operation_, const_cast<std::byte*>(at), bytes);
    });
    std::byte* bytes = gpu_.global.host_view(matrix);
    const View place = view(layout, bytes);
    for (std::uint64_t column = 0; column < problem_.n; ++column)
      for (std::uint64_t row = 0; row < problem_.m; ++row)
        write_element(layout.type, bytes, row * place.row_stride + column * place.column_stride, sum(row, column));
  }

  void write_aux() {
    const Layout layout = aux_layout();
    write(layout, start(layout, static_cast<const std::byte*>(problem_.description.aux)));
  }

  void write_d() { write(problem_.d, start(problem_.d, operands_.d)); }

  // The sums of a matrix's rows, in fp32 and in order, to the bias vector.
  void write_sums(const View& matrix, std::uint64_t rows, std::uint64_t columns) {
    std::byte* to = gpu_.global.write(operation_, bias(), rows * bytes_of(problem_.d.type));
    for (std::uint64_t row = 0; row < rows; ++row) {
      float total = 0;
      for (std::uint64_t column = 0; column < columns; ++column) total += matrix.at(row, column);
      write_element(problem_.d.type, to, row, total);
    }
  }

  Gpu& gpu_;
  const Operation& operation_;
  const Problem& problem_;
  const Operands& operands_;
  const int number_;
  std::vector<float> sums_;  // [n][m]
};

}  // namespace

void run(Gpu& gpu, const Operation& operation, const Problem& problem, const Operands& operands) {
  if (operands.workspace_bytes > 0) gpu.global.write(operation, operands.workspace, operands.workspace_bytes);
  for (int batch = 0; batch < problem.batches; ++batch) Batch(gpu, operation, problem, operands, batch).run();
}

}  // namespace trireme::gpu::cublaslt
