// The words for the engine's enumerations, and their JSON.
#include <utility>

#include "base/digest.h"
#include "engine/engine.h"

namespace gantry::engine {
namespace {

template <typename E, size_t N>
std::string_view word_of(const std::pair<E, std::string_view> (&table)[N], E value) {
  for (const auto& [known, word] : table)
    if (known == value) return word;
  return "unknown";
}

constexpr std::pair<ResourceState, std::string_view> kResourceStates[] = {
    {ResourceState::intended, "intended"},
    {ResourceState::held, "held"},
    {ResourceState::releasing, "releasing"}};
constexpr std::pair<LockKind, std::string_view> kLockKinds[] = {{LockKind::container, "container"},
                                                                {LockKind::image, "image"},
                                                                {LockKind::volume, "volume"},
                                                                {LockKind::network, "network"}};
constexpr std::pair<JobClass, std::string_view> kJobClasses[] = {
    {JobClass::control, "control"},
    {JobClass::container, "container"},
    {JobClass::transfer, "transfer"},
    {JobClass::build, "build"},
    {JobClass::maintenance, "maintenance"}};
constexpr std::pair<JobStatus, std::string_view> kJobStatuses[] = {
    {JobStatus::queued, "queued"},       {JobStatus::running, "running"},
    {JobStatus::done, "done"},           {JobStatus::failed, "failed"},
    {JobStatus::cancelled, "cancelled"}, {JobStatus::interrupted, "interrupted"}};
constexpr std::pair<Finding::What, std::string_view> kFindings[] = {
    {Finding::What::interrupted_job, "interrupted job"},
    {Finding::What::unfinished, "unfinished"},
    {Finding::What::releasing, "releasing"},
    {Finding::What::ownerless, "ownerless"},
    {Finding::What::vanished, "vanished"},
    {Finding::What::orphan, "orphan"},
    {Finding::What::unknown_kind, "unknown kind"},
    {Finding::What::failed, "failed"}};

}  // namespace

std::string_view to_string(ResourceState state) { return word_of(kResourceStates, state); }
std::string_view to_string(LockKind kind) { return word_of(kLockKinds, kind); }
std::string_view to_string(JobClass job_class) { return word_of(kJobClasses, job_class); }
std::string_view to_string(JobStatus status) { return word_of(kJobStatuses, status); }
std::string_view to_string(Finding::What what) { return word_of(kFindings, what); }

Result<JobStatus> job_status_from(std::string_view word) {
  std::string known;
  for (const auto& [status, text] : kJobStatuses) {
    if (text == word) return status;
    known += known.empty() ? "" : ", ";
    known += text;
  }
  return invalid("unknown job status \"{}\" ({})", word, known);
}

std::string digest_text(std::string_view text) { return Digest::of(text).text(); }

}  // namespace gantry::engine

namespace gantry::json {

using What = engine::Finding::What;

Status CodecOf<What>::decode(void* out, const value& in) {
  std::string word;
  TRY(decode_string(word, in));
  for (const auto& [value, known] : engine::kFindings)
    if (known == word) {
      *static_cast<What*>(out) = value;
      return {};
    }
  return invalid("unknown kind of finding \"{}\"", word);
}

value CodecOf<What>::encode(const void* in) {
  return value(boost::json::string(engine::to_string(*static_cast<const What*>(in))));
}

}  // namespace gantry::json
