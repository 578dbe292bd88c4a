#include "libcontainer/device_filter.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "base/log.h"
#include "base/unique_fd.h"

namespace gantry::libcontainer {
namespace {

// The program's registers. The context is struct bpf_cgroup_dev_ctx {u32 access << 16 | type,
// major, minor}.
enum Register : uint8_t { kAnswer, kContext, kType, kAccess, kMajor, kMinor, kScratch };

constexpr int32_t kTypes[] = {BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR};
constexpr size_t kMostRules = 1024;

bpf_insn instruction(int code, uint8_t to, uint8_t from, int16_t offset, int32_t value) {
  bpf_insn out = {};
  out.code = static_cast<uint8_t>(code);
  out.dst_reg = to & 0xf;
  out.src_reg = from & 0xf;
  out.off = offset;
  out.imm = value;
  return out;
}
bpf_insn load(Register to, int16_t offset) {
  return instruction(BPF_LDX | BPF_MEM | BPF_W, to, kContext, offset, 0);
}
bpf_insn compute(int operation, Register to, int32_t value) {
  return instruction(BPF_ALU | operation | BPF_K, to, 0, 0, value);
}
bpf_insn copy(Register to, Register from) {
  return instruction(BPF_ALU | BPF_MOV | BPF_X, to, from, 0, 0);
}
bpf_insn jump(int condition, Register of, int32_t value, int16_t distance) {
  return instruction(BPF_JMP | condition | BPF_K, of, 0, distance, value);
}

void answer(std::vector<bpf_insn>& out, bool allow) {
  out.push_back(compute(BPF_MOV, kAnswer, allow ? 1 : 0));
  out.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

// Jumps over the rest of the rule; their distance is known once it is written.
class Rule {
 public:
  explicit Rule(std::vector<bpf_insn>& out) : out_(out) {}
  void skip_if(int condition, Register of, int32_t value) {
    skips_[count_++] = out_.size();
    out_.push_back(jump(condition, of, value, 0));
  }
  void end() {
    for (size_t i = 0; i < count_; ++i)
      out_[skips_[i]].off = static_cast<int16_t>(out_.size() - skips_[i] - 1);
  }

 private:
  std::vector<bpf_insn>& out_;
  std::array<size_t, 4> skips_ = {};
  size_t count_ = 0;
};

Result<int32_t> access_bits(const DeviceCgroup& rule, size_t index) {
  int32_t bits = 0;
  for (char c : rule.access.empty() ? std::string("rwm") : rule.access) {
    switch (c) {
      case 'r':
        bits |= BPF_DEVCG_ACC_READ;
        break;
      case 'w':
        bits |= BPF_DEVCG_ACC_WRITE;
        break;
      case 'm':
        bits |= BPF_DEVCG_ACC_MKNOD;
        break;
      default:
        return invalid("linux.resources.devices[{}].access: \"{}\" is not made of r, w and m",
                       index, rule.access);
    }
  }
  return bits;
}

bool speaks_of_all(const DeviceCgroup& rule) { return rule.type.empty() || rule.type == "a"; }

Status add_rule(std::vector<bpf_insn>& out, const DeviceCgroup& rule, size_t index) {
  if (!speaks_of_all(rule) && rule.type != "b" && rule.type != "c")
    return invalid("linux.resources.devices[{}].type: unknown type \"{}\"", index, rule.type);
  int32_t bits = TRY(access_bits(rule, index));
  if (speaks_of_all(rule)) {
    answer(out, rule.allow);
    return {};
  }
  Rule jumps(out);
  jumps.skip_if(BPF_JNE, kType, kTypes[rule.type == "c"]);
  if (rule.major && *rule.major >= 0)
    jumps.skip_if(BPF_JNE, kMajor, static_cast<int32_t>(*rule.major));
  if (rule.minor && *rule.minor >= 0)
    jumps.skip_if(BPF_JNE, kMinor, static_cast<int32_t>(*rule.minor));
  if (rule.allow) {
    // What this rule grants is settled; earlier rules decide about the rest.
    out.push_back(compute(BPF_AND, kAccess, ~bits));
    jumps.skip_if(BPF_JNE, kAccess, 0);
  } else {
    out.push_back(copy(kScratch, kAccess));
    out.push_back(compute(BPF_AND, kScratch, bits));
    jumps.skip_if(BPF_JEQ, kScratch, 0);
  }
  answer(out, rule.allow);
  jumps.end();
  return {};
}

Result<int> bpf(int command, bpf_attr& attributes, const char* what) {
  long result = ::syscall(SYS_bpf, command, &attributes, sizeof attributes);
  if (result == -1) return errno_error(errno, "bpf: {}", what);
  return static_cast<int>(result);
}

Result<UniqueFd> load_program(const std::vector<bpf_insn>& program) {
  static constexpr char kLicense[] = "Apache-2.0";
  bpf_attr attributes = {};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<uint64_t>(program.data());
  attributes.insn_cnt = static_cast<uint32_t>(program.size());
  attributes.license = reinterpret_cast<uint64_t>(kLicense);
  return UniqueFd(TRY(bpf(BPF_PROG_LOAD, attributes, "load the device filter")));
}

Result<std::vector<uint32_t>> attached_to(int group) {
  std::vector<uint32_t> ids(64);
  bpf_attr attributes = {};
  attributes.query.target_fd = static_cast<uint32_t>(group);
  attributes.query.attach_type = BPF_CGROUP_DEVICE;
  attributes.query.prog_ids = reinterpret_cast<uint64_t>(ids.data());
  attributes.query.prog_cnt = static_cast<uint32_t>(ids.size());
  (void)TRY(bpf(BPF_PROG_QUERY, attributes, "list device filters"));
  ids.resize(attributes.query.prog_cnt);
  return ids;
}

Status detach(int group, uint32_t id) {
  bpf_attr by_id = {};
  by_id.prog_id = id;
  UniqueFd program(TRY(bpf(BPF_PROG_GET_FD_BY_ID, by_id, "open an older device filter")));
  bpf_attr attributes = {};
  attributes.target_fd = static_cast<uint32_t>(group);
  attributes.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  (void)TRY(bpf(BPF_PROG_DETACH, attributes, "take an older device filter off"));
  return {};
}

}  // namespace

Result<std::vector<bpf_insn>> compile_device_filter(const std::vector<DeviceCgroup>& rules) {
  if (rules.size() > kMostRules)
    return invalid("linux.resources.devices: {} rules are more than {}", rules.size(), kMostRules);
  std::vector<bpf_insn> out = {load(kType, 0),
                               copy(kAccess, kType),
                               compute(BPF_AND, kType, 0xffff),
                               compute(BPF_RSH, kAccess, 16),
                               load(kMajor, 4),
                               load(kMinor, 8)};
  bool settled = false;
  for (size_t i = rules.size(); i-- > 0;) {
    TRY(add_rule(out, rules[i], i));
    // Nothing is left for what stands before it, and the kernel refuses a program with dead ends.
    if ((settled = speaks_of_all(rules[i]))) break;
  }
  if (!settled) answer(out, false);
  return out;
}

Status attach_device_filter(int group, const std::vector<DeviceCgroup>& rules) {
  std::vector<bpf_insn> compiled = TRY(compile_device_filter(rules));
  UniqueFd program = TRY(load_program(compiled).context("linux.resources.devices"));
  std::vector<uint32_t> before = TRY(attached_to(group));
  bpf_attr attributes = {};
  attributes.target_fd = static_cast<uint32_t>(group);
  attributes.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;
  (void)TRY(bpf(BPF_PROG_ATTACH, attributes, "attach the device filter")
                .context("linux.resources.devices"));
  for (uint32_t id : before) TRY(detach(group, id));
  return {};
}

}  // namespace gantry::libcontainer
