#include "parallel/placement/file_boxes.h"

#include <map>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace trireme {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 3, kHidden = 6;

// Q [heads, head_dim, hidden] and KV [2, kv_heads, head_dim, hidden] as Llama has them, or fused and transposed as
// GPT-2 does.
std::vector<ParamSpec> attention(bool gpt2) {
  ParamSpec q;
  q.name = "q";
  q.shape = {kHeads, kHeadDim, kHidden};
  q.row_dims = 2;
  ParamSpec kv;
  kv.name = "kv";
  kv.shape = {2, kKvHeads, kHeadDim, kHidden};
  kv.row_dims = 3;
  const std::int64_t rows = kHeads * kHeadDim;
  const std::int64_t kv_rows = kKvHeads * kHeadDim;
  if (gpt2) {
    const Shape fused{kHidden, rows + 2 * kv_rows};
    q.files = {{"c_attn", fused, 0, rows, 0, 0, true}};
    kv.files = {{"c_attn", fused, 0, kv_rows, 0, rows, true},
                {"c_attn", fused, kv_rows, kv_rows, 0, rows + kv_rows, true}};
  } else {
    q.files = {{"q_proj", {rows, kHidden}, 0, rows, 0, 0, false}};
    kv.files = {{"k_proj", {kv_rows, kHidden}, 0, kv_rows, 0, 0, false},
                {"v_proj", {kv_rows, kHidden}, kv_rows, kv_rows, 0, 0, false}};
  }
  ParamSpec bias;
  bias.name = "bias";
  bias.shape = {5};
  bias.row_dims = 0;
  bias.files = {{"bias", {5}, 0, 1, 0, 0, false}};
  return {q, kv, bias};
}

TEST(FileBoxes, WholeModelsCoverTheirFiles) {
  EXPECT_THAT(file_coverage_problems(attention(false)), IsEmpty());
  EXPECT_THAT(file_coverage_problems(attention(true)), IsEmpty());
}

TEST(FileBoxes, AnOverlapAGapAndALeapOutsideAreNamed) {
  std::vector<ParamSpec> specs = attention(true);
  specs[1].files[1].at_column -= 1;
  EXPECT_THAT(file_coverage_problems(specs), ElementsAre(HasSubstr("c_attn: kv and kv both claim [0:6, 17:18]")));

  specs = attention(true);
  specs.erase(specs.begin());
  EXPECT_THAT(file_coverage_problems(specs), ElementsAre(HasSubstr("c_attn: 72 of its 144 elements belong to no")));

  specs = attention(true);
  specs[1].files[1].at_column += 1;
  EXPECT_THAT(file_coverage_problems(specs), ElementsAre(HasSubstr("kv claims [0:6, 19:25] of a tensor [6, 24]")));

  specs = attention(true);
  specs[1].files[1].tensor_shape = {kHidden, 99};
  EXPECT_THAT(file_coverage_problems(specs), ElementsAre(HasSubstr("says its shape is")));
}

TEST(FileBoxes, OurRowsInNoFileOrInTwoAreNamed) {
  std::vector<ParamSpec> specs = attention(false);
  specs[1].files.pop_back();
  EXPECT_THAT(file_coverage_problems(specs), ElementsAre(HasSubstr("kv: rows from 6 of 12 lie in no file")));

  specs = attention(false);
  specs[1].files.push_back({"extra", {1, kHidden}, 2, 1, 0, 0, false});
  EXPECT_THAT(file_coverage_problems(specs), ElementsAre(HasSubstr("kv: a file box holds 1 rows from 2")));

  specs = attention(false);
  specs[0].tied_to = "kv";
  EXPECT_THAT(file_coverage_problems(specs), ElementsAre(HasSubstr("q: is tied to kv but claims files")));
}

// Every element of ours is numbered; ranks cut as `places` write their pieces; each tensor of theirs must come out as
// when the whole parameter is written at once by the definition of a FileBox.
RC_GTEST_PROP(FileBoxes, PiecesOfAnyCutsAssembleTheSameFiles, ()) {
  std::vector<ParamSpec> specs = attention(*rc::gen::arbitrary<bool>());
  for (ParamSpec& spec : specs) {
    const auto cuts = *rc::gen::inRange(0, 3);
    for (int cut = 0; cut < cuts; ++cut)
      spec.cuts.push_back({*rc::gen::inRange(0, spec.shape.dims()), cut == 0 ? Axis::kTp : Axis::kDp});
  }
  const auto tps = *rc::gen::inRange<std::int64_t>(1, 5);
  const auto dps = *rc::gen::inRange<std::int64_t>(1, 4);

  std::map<std::string, std::vector<std::int64_t>> expected, written;
  for (const ParamSpec& spec : specs)
    for (const FileBox& file : spec.files) {
      const auto elements = static_cast<std::size_t>(file.tensor_shape.elements());
      const std::int64_t width = file_matrix(file)[1];
      std::vector<std::int64_t>& theirs = expected[file.tensor];
      theirs.resize(elements, -1);
      written[file.tensor].resize(elements, -1);
      const std::int64_t columns = spec.matrix()[1];
      for (std::int64_t r = 0; r < file.rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c) {
          const std::int64_t row = file.at_row + (file.transposed ? c : r);
          const std::int64_t column = file.at_column + (file.transposed ? r : c);
          theirs[static_cast<std::size_t>(row * width + column)] = (file.row + r) * columns + c;
        }
    }

  for (std::int64_t tp = 0; tp < tps; ++tp)
    for (std::int64_t dp = 0; dp < dps; ++dp) {
      AxisPlaces places;
      places[Axis::kTp] = {tps, tp};
      places[Axis::kDp] = {dps, dp};
      for (const ParamSpec& spec : specs) {
        const bool replica = (tp > 0 && spec.cuts.empty()) || (dp > 0 && spec.cuts.size() < 2);
        if (replica) continue;
        const Box box = local_box(spec, places);
        std::vector<std::int64_t> ours(static_cast<std::size_t>(box.elements()));
        for_each_run(spec.shape, box, [&](BoxRun run) {
          std::iota(ours.begin() + run.local, ours.begin() + run.local + run.count, run.global);
        });
        std::int64_t width = 1;  // of the local matrix
        for (int dim = spec.row_dims; dim < spec.shape.dims(); ++dim) width *= box.size[dim];
        for (const FileBox& file : spec.files)
          for (const FilePiece& piece : pieces_in(spec, file, box))
            for (std::int64_t r = 0; r < piece.rows; ++r)
              for (std::int64_t c = 0; c < piece.columns; ++c) {
                const std::int64_t row = piece.at_row + (piece.transposed ? c : r);
                const std::int64_t column = piece.at_column + (piece.transposed ? r : c);
                auto& place = written[file.tensor][static_cast<std::size_t>(row * file_matrix(file)[1] + column)];
                RC_ASSERT(place == -1);
                place = ours[static_cast<std::size_t>((piece.row + r) * width + piece.column + c)];
              }
      }
    }
  RC_ASSERT(written == expected);
}

TEST(FileBoxes, AWholeParameterIsOnePieceAFileBox) {
  for (const ParamSpec& spec : attention(true))
    for (const FileBox& file : spec.files) EXPECT_EQ(pieces_in(spec, file, whole(spec.shape)).size(), 1u) << spec.name;
}

}  // namespace
}  // namespace trireme
