// The named axes of a mesh. A mesh has axes; a tensor has dims.
#pragma once

#include <array>
#include <cstdint>

namespace trireme {

enum class Axis { kDp, kPp, kCp, kTp, kEp };
inline constexpr int kAxes = 5;

constexpr const char* name_of(Axis axis) {
  constexpr const char* names[kAxes] = {"dp", "pp", "cp", "tp", "ep"};
  return names[static_cast<int>(axis)];
}

// Where a rank stands on one axis: place `index` of `parts`.
struct AxisPlace {
  std::int64_t parts = 1;
  std::int64_t index = 0;
  bool operator==(const AxisPlace&) const = default;
};

// Where it stands on each of them. Made by mesh.h, or by a test that cuts what no mesh cuts yet.
struct AxisPlaces {
  std::array<AxisPlace, kAxes> places;

  AxisPlace& operator[](Axis axis) { return places[static_cast<std::size_t>(axis)]; }
  const AxisPlace& operator[](Axis axis) const { return places[static_cast<std::size_t>(axis)]; }
  bool operator==(const AxisPlaces&) const = default;
};

}  // namespace trireme
