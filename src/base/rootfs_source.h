// How a container's root file system is put together. Made by a graph driver, stored with the
// container, carried out by libcontainer inside the container's own mount namespace: nothing is
// attached to the host's tree. The paths are the engine's own, never a container's.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace gantry {

// An EROFS image in plain files: `index` is the primary device, `devices` are its further ones.
//
// Whoever mounts an image has a page cache of its own for it. So the engine mounts each once,
// attached to nothing, and `mounted` is where others find that mount ("/proc/PID/fd/N"); it is used
// while the file system there has the UUID `id` (at most 16 bytes), and else the image is mounted.
struct ErofsImage {
  std::string id;
  std::string mounted;
  std::string index;
  std::vector<std::string> devices;
  std::vector<std::string> options;  // as the kernel takes them ("directio")
};

struct RootfsSource {
  // "overlay": lower layers under an upper directory; "bind": `source` is the whole file system.
  std::string type;
  std::string top;  // overlay: a lower directory above all others
  // overlay: images above `lower`, topmost first; each is mounted, attached to nothing.
  std::vector<ErofsImage> images;
  std::vector<std::string> lower;  // overlay: topmost layer first
  std::string upper;               // overlay: "" for a read-only union of the lower layers
  std::string work;                // overlay: on the same file system as `upper`
  std::string source;              // bind
  std::vector<std::string>
      options;  // further overlay options as the kernel takes them ("volatile")
};

template <>
struct json::Schema<ErofsImage> {
  static constexpr Field fields[] = {
      field<&ErofsImage::id>("id", kOmitEmpty), field<&ErofsImage::mounted>("mounted", kOmitEmpty),
      field<&ErofsImage::index>("index"), field<&ErofsImage::devices>("devices", kOmitEmpty),
      field<&ErofsImage::options>("options", kOmitEmpty)};
};
template <>
struct json::Schema<RootfsSource> {
  static constexpr Field fields[] = {field<&RootfsSource::type>("type"),
                                     field<&RootfsSource::top>("top", kOmitEmpty),
                                     field<&RootfsSource::images>("images", kOmitEmpty),
                                     field<&RootfsSource::lower>("lower", kOmitEmpty),
                                     field<&RootfsSource::upper>("upper", kOmitEmpty),
                                     field<&RootfsSource::work>("work", kOmitEmpty),
                                     field<&RootfsSource::source>("source", kOmitEmpty),
                                     field<&RootfsSource::options>("options", kOmitEmpty)};
};

}  // namespace gantry
