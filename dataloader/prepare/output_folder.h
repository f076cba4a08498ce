// Half a data set that looks like a whole one is worse than none. An OutputFolder is written beside its place, as
// OUT.partial, and appears at OUT complete, by one rename, or not at all.
//
// A lock on OUT.partial keeps two runs apart; what a killed run left there is removed by the next one.
#pragma once

#include <filesystem>

namespace trireme {

class OutputFolder {
 public:
  // Makes OUT.partial, and OUT's parent folders. Throws UserError if that fails or another run is writing there.
  explicit OutputFolder(const std::filesystem::path& out);
  ~OutputFolder();  // without publish(): OUT.partial is removed
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return partial_; }

  // The files in it must be durable. Throws UserError if OUT has come to exist meanwhile (an empty folder is replaced).
  void publish();

 private:
  std::filesystem::path out_;
  std::filesystem::path partial_;
  int lock_ = -1;
  bool published_ = false;
};

}  // namespace trireme
