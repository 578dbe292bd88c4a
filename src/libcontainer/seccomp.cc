#include "libcontainer/seccomp.h"

#include <linux/audit.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"

namespace gantry::libcontainer {
namespace {

constexpr uint32_t kX32Bit = 0x40000000;
constexpr size_t kMaxProgram = 4096;  // BPF_MAXINSNS
constexpr std::string_view kCacheFormat = "gantry seccomp 1 " GANTRY_VERSION "\n";

struct ActionName {
  std::string_view name;
  uint32_t value;
  bool takes_data;
};
constexpr ActionName kActions[] = {{"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD, false},
                                   {"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD, false},
                                   {"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS, false},
                                   {"SCMP_ACT_TRAP", SECCOMP_RET_TRAP, false},
                                   {"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO, true},
                                   {"SCMP_ACT_TRACE", SECCOMP_RET_TRACE, true},
                                   {"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW, false},
                                   {"SCMP_ACT_LOG", SECCOMP_RET_LOG, false},
                                   {"SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF, false}};

struct ArchName {
  std::string_view name;
  uint32_t token;  // libseccomp's
  uint32_t audit;  // seccomp_data.arch
};
constexpr ArchName kArches[] = {
    {"SCMP_ARCH_X86", SCMP_ARCH_X86, AUDIT_ARCH_I386},
    {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64},
    {"SCMP_ARCH_X32", SCMP_ARCH_X32, AUDIT_ARCH_X86_64},
    {"SCMP_ARCH_ARM", SCMP_ARCH_ARM, AUDIT_ARCH_ARM},
    {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64},
    {"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS, AUDIT_ARCH_MIPS},
    {"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64, AUDIT_ARCH_MIPS64},
    {"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32, AUDIT_ARCH_MIPS64N32},
    {"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL, AUDIT_ARCH_MIPSEL},
    {"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64, AUDIT_ARCH_MIPSEL64},
    {"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32, AUDIT_ARCH_MIPSEL64N32},
    {"SCMP_ARCH_PPC", SCMP_ARCH_PPC, AUDIT_ARCH_PPC},
    {"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64, AUDIT_ARCH_PPC64},
    {"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE, AUDIT_ARCH_PPC64LE},
    {"SCMP_ARCH_S390", SCMP_ARCH_S390, AUDIT_ARCH_S390},
    {"SCMP_ARCH_S390X", SCMP_ARCH_S390X, AUDIT_ARCH_S390X},
    {"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC, AUDIT_ARCH_PARISC},
    {"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64, AUDIT_ARCH_PARISC64},
    {"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64, AUDIT_ARCH_RISCV64}};

// In the specification, not in libseccomp 2.5.4: no machine that this builds for runs their
// programs, there is nothing to filter.
constexpr std::string_view kOtherArches[] = {"SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K",
                                             "SCMP_ARCH_SH", "SCMP_ARCH_SHEB"};

struct FlagName {
  std::string_view name;
  unsigned value;
};
constexpr FlagName kFlags[] = {{"SECCOMP_FILTER_FLAG_TSYNC", 0},  // one thread: nothing to do
                               {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
                               {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
                               {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1u << 5}};

// Calls that libseccomp 2.5.4 does not know. Since 5.1 a new call has the same number everywhere.
struct NewCall {
  std::string_view name;
  int number;
  uint32_t only_audit;  // 0: every architecture
};
constexpr NewCall kNewCalls[] = {{"cachestat", 451, 0},
                                 {"fchmodat2", 452, 0},
                                 {"map_shadow_stack", 453, 0},
                                 {"futex_wake", 454, 0},
                                 {"futex_wait", 455, 0},
                                 {"futex_requeue", 456, 0},
                                 {"statmount", 457, 0},
                                 {"listmount", 458, 0},
                                 {"lsm_get_self_attr", 459, 0},
                                 {"lsm_set_self_attr", 460, 0},
                                 {"lsm_list_modules", 461, 0},
                                 {"mseal", 462, 0},
                                 {"setxattrat", 463, 0},
                                 {"getxattrat", 464, 0},
                                 {"listxattrat", 465, 0},
                                 {"removexattrat", 466, 0},
                                 {"open_tree_attr", 467, 0},
                                 {"file_getattr", 468, 0},
                                 {"file_setattr", 469, 0},
                                 {"uretprobe", 335, AUDIT_ARCH_X86_64},
                                 {"uprobe", 336, AUDIT_ARCH_X86_64},
                                 {"riscv_hwprobe", 258, AUDIT_ARCH_RISCV64},
                                 {"getsid", -1, 1}};  // in Docker's profile; no architecture has it

// Calls of i386 that libseccomp only knows as parts of socketcall and ipc.
struct DirectCall {
  std::string_view name;
  int number;
};
constexpr DirectCall kDirectCalls[] = {
    {"socket", 359},      {"socketpair", 360},  {"bind", 361},       {"connect", 362},
    {"listen", 363},      {"accept4", 364},     {"getsockopt", 365}, {"setsockopt", 366},
    {"getsockname", 367}, {"getpeername", 368}, {"sendto", 369},     {"sendmsg", 370},
    {"recvfrom", 371},    {"recvmsg", 372},     {"shutdown", 373},   {"recvmmsg", 337},
    {"sendmmsg", 345},    {"semget", 393},      {"semctl", 394},     {"shmget", 395},
    {"shmctl", 396},      {"shmat", 397},       {"shmdt", 398},      {"msgget", 399},
    {"msgsnd", 400},      {"msgrcv", 401},      {"msgctl", 402}};

constexpr std::string_view kOperators[] = {"SCMP_CMP_NE",       "SCMP_CMP_LT", "SCMP_CMP_LE",
                                           "SCMP_CMP_EQ",       "SCMP_CMP_GE", "SCMP_CMP_GT",
                                           "SCMP_CMP_MASKED_EQ"};

template <typename Table>
auto find_name(const Table& table, std::string_view name) {
  auto found = std::find_if(std::begin(table), std::end(table),
                            [&](const auto& entry) { return entry.name == name; });
  return found == std::end(table) ? nullptr : &*found;
}

Result<uint32_t> action_of(const std::string& name, std::optional<uint32_t> data,
                           std::string_view field) {
  const ActionName* action = find_name(kActions, name);
  if (!action) return invalid("{}: unknown action \"{}\"", field, name);
  if (!action->takes_data) {
    if (data) return invalid("{}: {} answers with no errno, {} was given", field, name, *data);
    return action->value;
  }
  uint32_t number = data.value_or(EPERM);
  if (number > 0xffff) return invalid("{}: errno {} is out of range", field, number);
  return action->value | number;
}

// What one system call leads to: rules with conditions in order, then an action.
struct Chain {
  struct Rule {
    const std::vector<SyscallArg>* args;
    uint32_t action;
    bool operator==(const Rule&) const = default;
  };
  std::vector<Rule> rules;
  std::optional<uint32_t> final;
  bool operator==(const Chain&) const = default;
};
using Table = std::map<uint32_t, Chain>;  // by number

constexpr int kUnknown = -1;  // no architecture has it
constexpr int kAbsent = -2;   // this one has not

int number_of(const std::string& name, const ArchName& arch) {
  int number = ::seccomp_syscall_resolve_name_arch(arch.token, name.c_str());
  if (number >= 0) return number;
  if (number != __NR_SCMP_ERROR) {
    const DirectCall* direct =
        arch.token == SCMP_ARCH_X86 ? find_name(kDirectCalls, name) : nullptr;
    return direct ? direct->number : kAbsent;
  }
  const NewCall* fresh = find_name(kNewCalls, name);
  if (!fresh) return kUnknown;
  if (fresh->only_audit && fresh->only_audit != arch.audit) return kAbsent;
  return arch.token == SCMP_ARCH_X32 ? fresh->number | static_cast<int>(kX32Bit) : fresh->number;
}

Result<Table> table_for(const Seccomp& seccomp, const ArchName& arch, uint32_t default_action) {
  Table table;
  for (size_t i = 0; i < seccomp.syscalls.size(); ++i) {
    const Syscall& rule = seccomp.syscalls[i];
    std::string field = fmt::format("linux.seccomp.syscalls[{}]", i);
    if (rule.names.empty()) return invalid("{}.names: is empty", field);
    uint32_t action = TRY(action_of(rule.action, rule.errno_ret, field + ".action"));
    for (const SyscallArg& arg : rule.args) {
      if (arg.index > 5) return invalid("{}.args: index {} is over 5", field, arg.index);
      if (std::find(std::begin(kOperators), std::end(kOperators), arg.op) == std::end(kOperators))
        return invalid("{}.args: unknown operator \"{}\"", field, arg.op);
    }
    for (const std::string& name : rule.names) {
      int number = number_of(name, arch);
      if (number == kUnknown) return invalid("{}.names: unknown system call \"{}\"", field, name);
      if (number == kAbsent) continue;
      // Also what is left out counts as known (the ENOSYS bound).
      Chain& chain = table[static_cast<uint32_t>(number)];
      if (action == default_action) continue;
      if (!rule.args.empty())
        chain.rules.push_back({&rule.args, action});
      else if (!chain.final)
        chain.final = action;
    }
  }
  for (auto& [number, chain] : table) {
    uint32_t otherwise = chain.final.value_or(default_action);
    if (std::all_of(chain.rules.begin(), chain.rules.end(),
                    [&](const Chain::Rule& rule) { return rule.action == otherwise; }))
      chain.rules.clear();
  }
  return table;
}

class Assembler {
 public:
  explicit Assembler(uint32_t default_action) : default_(default_action) {}
  std::vector<sock_filter> take() { return std::move(code_); }
  size_t size() const { return code_.size(); }

  void load(uint32_t offset) { code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)); }
  void answer(uint32_t action) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, action)); }
  // Continues with the next instruction when the condition holds; otherwise jumps to where
  // land() is called with what this returns.
  size_t unless_jump(uint16_t condition, uint32_t value) {
    code_.push_back(BPF_JUMP(static_cast<uint16_t>(BPF_JMP | BPF_K | condition), value, 1, 0));
    code_.push_back(BPF_STMT(BPF_JMP | BPF_JA, 0));
    return code_.size() - 1;
  }
  size_t when_jump(uint16_t condition, uint32_t value) {
    code_.push_back(BPF_JUMP(static_cast<uint16_t>(BPF_JMP | BPF_K | condition), value, 0, 1));
    code_.push_back(BPF_STMT(BPF_JMP | BPF_JA, 0));
    return code_.size() - 1;
  }
  void land(size_t jump) { code_[jump].k = static_cast<uint32_t>(code_.size() - jump - 1); }

  // Jumps that leave an argument's test: `fail` to the next rule.
  void test(const SyscallArg& arg, std::vector<size_t>& fail) {
    uint32_t low_offset = static_cast<uint32_t>(offsetof(seccomp_data, args) + 8 * arg.index);
    uint32_t high_offset = low_offset + 4;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    std::swap(low_offset, high_offset);
#endif
    uint32_t high = static_cast<uint32_t>(arg.value >> 32);
    uint32_t low = static_cast<uint32_t>(arg.value);
    std::vector<size_t> pass;
    load(high_offset);
    if (arg.op == "SCMP_CMP_MASKED_EQ") {
      code_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, high));
      fail.push_back(unless_jump(BPF_JEQ, static_cast<uint32_t>(arg.value_two >> 32)));
      load(low_offset);
      code_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, low));
      fail.push_back(unless_jump(BPF_JEQ, static_cast<uint32_t>(arg.value_two)));
      return;
    }
    bool upward = arg.op == "SCMP_CMP_GT" || arg.op == "SCMP_CMP_GE";
    bool downward = arg.op == "SCMP_CMP_LT" || arg.op == "SCMP_CMP_LE";
    if (upward) pass.push_back(when_jump(BPF_JGT, high));
    if (downward) fail.push_back(when_jump(BPF_JGT, high));
    // The high words differ: decided, unless they are equal.
    bool equal_needed = upward || arg.op == "SCMP_CMP_EQ";
    (equal_needed ? fail : pass).push_back(unless_jump(BPF_JEQ, high));
    load(low_offset);
    if (arg.op == "SCMP_CMP_EQ") fail.push_back(unless_jump(BPF_JEQ, low));
    if (arg.op == "SCMP_CMP_NE") fail.push_back(when_jump(BPF_JEQ, low));
    if (arg.op == "SCMP_CMP_GT") fail.push_back(unless_jump(BPF_JGT, low));
    if (arg.op == "SCMP_CMP_GE") fail.push_back(unless_jump(BPF_JGE, low));
    if (arg.op == "SCMP_CMP_LE") fail.push_back(when_jump(BPF_JGT, low));
    if (arg.op == "SCMP_CMP_LT") fail.push_back(when_jump(BPF_JGE, low));
    for (size_t jump : pass) land(jump);
  }

  void chain(const Chain& chain) {
    for (const Chain::Rule& rule : chain.rules) {
      std::vector<size_t> fail;
      for (const SyscallArg& arg : *rule.args) test(arg, fail);
      answer(rule.action);
      for (size_t jump : fail) land(jump);
    }
    answer(chain.final.value_or(default_));
  }

  // Stretches of numbers with one answer, each from its `first` to the next one's.
  struct Stretch {
    uint32_t first;
    Chain chain;
  };
  void search(const std::vector<Stretch>& stretches, size_t begin, size_t end) {
    if (end - begin == 1) return chain(stretches[begin].chain);
    size_t middle = begin + (end - begin) / 2;
    size_t right = when_jump(BPF_JGE, stretches[middle].first);
    search(stretches, begin, middle);
    land(right);
    search(stretches, middle, end);
  }

 private:
  uint32_t default_;
  std::vector<sock_filter> code_;
};

std::vector<Assembler::Stretch> stretches_of(const Table& table, uint32_t default_action,
                                             uint32_t first_number) {
  std::vector<Assembler::Stretch> out;
  auto add = [&](uint32_t first, Chain chain) {
    if (!chain.final) chain.final = default_action;
    if (out.empty() || !(out.back().chain == chain)) out.push_back({first, std::move(chain)});
  };
  uint32_t next = first_number;
  for (const auto& [number, chain] : table) {
    if (number < first_number) continue;
    if (number > next || out.empty()) {
      if (number > next) add(next, Chain());
    }
    add(number, chain);
    next = number + 1;
  }
  Chain beyond;
  if ((default_action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO && !table.empty())
    beyond.final = SECCOMP_RET_ERRNO | ENOSYS;
  add(next, std::move(beyond));
  return out;
}

// A flag is known to the kernel when the missing program is all that it complains of (EFAULT).
bool kernel_knows(unsigned flag) {
  if (flag == 0) return true;
  unsigned also = flag == 1u << 5 ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;  // needs the listener
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag | also, nullptr) == -1 &&
         errno == EFAULT;
}

}  // namespace

SeccompNames seccomp_names() {
  SeccompNames out;
  for (const ActionName& one : kActions) out.actions.emplace_back(one.name);
  for (std::string_view one : kOperators) out.operators.emplace_back(one);
  for (const ArchName& one : kArches) out.architectures.emplace_back(one.name);
  for (const FlagName& one : kFlags) {
    out.flags.emplace_back(one.name);
    if (kernel_knows(one.value)) out.supported_flags.emplace_back(one.name);
  }
  return out;
}

Result<SeccompFilter> compile_seccomp(const Seccomp& seccomp) {
  SeccompFilter filter;
  for (const std::string& name : seccomp.flags) {
    const FlagName* flag = find_name(kFlags, name);
    if (!flag) return invalid("linux.seccomp.flags: unknown flag \"{}\"", name);
    filter.flags |= flag->value;
  }
  uint32_t default_action = TRY(
      action_of(seccomp.default_action, seccomp.default_errno_ret, "linux.seccomp.defaultAction"));
  if (default_action == SECCOMP_RET_USER_NOTIF)
    return invalid("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default");
  for (const Syscall& rule : seccomp.syscalls)
    if (rule.action == "SCMP_ACT_NOTIFY") {
      filter.notifies = true;
      for (const std::string& name : rule.names)
        if (name == "write")
          return invalid("linux.seccomp.syscalls: SCMP_ACT_NOTIFY cannot be used for write");
    }
  if (filter.notifies && seccomp.listener_path.empty())
    return invalid("linux.seccomp.listenerPath: is required with SCMP_ACT_NOTIFY");
  if (!seccomp.listener_metadata.empty() && seccomp.listener_path.empty())
    return invalid("linux.seccomp.listenerMetadata: needs listenerPath");

  // Per audit architecture; x32 shares one with x86_64 and is told apart by a bit of the number.
  std::map<uint32_t, std::vector<const ArchName*>> arches;
  const ArchName* native = nullptr;
  for (const ArchName& arch : kArches)
    if (arch.token == ::seccomp_arch_native()) native = &arch;
  if (native) arches[native->audit].push_back(native);
  for (const std::string& name : seccomp.architectures) {
    const ArchName* arch = find_name(kArches, name);
    if (!arch &&
        std::find(std::begin(kOtherArches), std::end(kOtherArches), name) != std::end(kOtherArches))
      continue;
    if (!arch) return invalid("linux.seccomp.architectures: unknown architecture \"{}\"", name);
    if (arch != native) arches[arch->audit].push_back(arch);
  }

  Assembler code(default_action);
  code.load(offsetof(seccomp_data, arch));
  for (const auto& [audit, members] : arches) {
    size_t other = code.unless_jump(BPF_JEQ, audit);
    code.load(offsetof(seccomp_data, nr));
    const ArchName* plain = nullptr;
    const ArchName* x32 = nullptr;
    for (const ArchName* arch : members) (arch->token == SCMP_ARCH_X32 ? x32 : plain) = arch;
    size_t low_numbers = 0;
    if (audit == AUDIT_ARCH_X86_64) {
      low_numbers = code.unless_jump(BPF_JGE, kX32Bit);
      if (x32) {
        Table table = TRY(table_for(seccomp, *x32, default_action));
        auto stretches = stretches_of(table, default_action, kX32Bit);
        code.search(stretches, 0, stretches.size());
      } else {
        code.answer(SECCOMP_RET_KILL_THREAD);
      }
      code.land(low_numbers);
    }
    if (plain) {
      Table table = TRY(table_for(seccomp, *plain, default_action));
      auto stretches = stretches_of(table, default_action, 0);
      code.search(stretches, 0, stretches.size());
    } else {
      code.answer(SECCOMP_RET_KILL_THREAD);
    }
    code.land(other);
  }
  code.answer(SECCOMP_RET_KILL_THREAD);
  if (code.size() > kMaxProgram)
    return invalid("linux.seccomp: the filter has {} instructions, the kernel takes {}",
                   code.size(), kMaxProgram);
  filter.program = code.take();
  return filter;
}

Result<SeccompFilter> cached_seccomp(const Seccomp& seccomp, const std::string& directory) {
  if (directory.empty()) return compile_seccomp(seccomp);
  std::string source = std::string(kCacheFormat) + json::dump(seccomp);
  source += '\0';
  uint64_t low = 0xcbf29ce484222325,
           high = 0x6c62272e07bb0142;  // FNV-1a, and a second walk beside it
  for (unsigned char c : source) {
    low = (low ^ c) * 0x100000001b3;
    high = (high + c) * 0x9e3779b97f4a7c15 ^ high >> 29;
  }
  std::string path = fmt::format("{}/{:016x}{:016x}", directory, low, high);
  if (Result<std::string> entry = fs::read_file(path, 1 << 20);
      entry && entry->starts_with(source)) {
    SeccompFilter filter;
    std::string_view rest = std::string_view(*entry).substr(source.size());
    unsigned header[2];
    if (rest.size() > sizeof header && (rest.size() - sizeof header) % sizeof(sock_filter) == 0) {
      std::memcpy(header, rest.data(), sizeof header);
      filter.flags = header[0];
      filter.notifies = header[1] != 0;
      filter.program.resize((rest.size() - sizeof header) / sizeof(sock_filter));
      std::memcpy(filter.program.data(), rest.data() + sizeof header, rest.size() - sizeof header);
      return filter;
    }
  }
  SeccompFilter filter = TRY(compile_seccomp(seccomp));
  unsigned header[2] = {filter.flags, filter.notifies};
  std::string entry = source;
  entry.append(reinterpret_cast<const char*>(header), sizeof header);
  entry.append(reinterpret_cast<const char*>(filter.program.data()),
               filter.program.size() * sizeof(sock_filter));
  Status made = fs::make_directories(directory, 0700);
  if (made) made = fs::replace_file(path, entry, 0600);
  log::ignored("seccomp cache", made, log::Level::debug);
  return filter;
}

uint32_t evaluate(const std::vector<sock_filter>& program, const seccomp_data& data) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& op = program[at];
    switch (op.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (op.k + 4 > sizeof data) return SECCOMP_RET_KILL_PROCESS;
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + op.k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= op.k;
        break;
      case BPF_JMP | BPF_JA:
        at += op.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == op.k ? op.jt : op.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += accumulator > op.k ? op.jt : op.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += accumulator >= op.k ? op.jt : op.jf;
        break;
      case BPF_RET | BPF_K:
        return op.k;
      default:
        return SECCOMP_RET_KILL_PROCESS;
    }
  }
  return SECCOMP_RET_KILL_PROCESS;
}

bool permits_setup(const SeccompFilter& filter) {
  constexpr int kCalls[] = {
      SYS_read,           SYS_write,        SYS_close,      SYS_sendmsg,    SYS_recvmsg,
      SYS_accept4,        SYS_execve,       SYS_exit_group, SYS_prctl,      SYS_setgroups,
      SYS_setresuid,      SYS_setresgid,    SYS_capget,     SYS_capset,     SYS_umask,
      SYS_fchdir,         SYS_getcwd,       SYS_openat2,    SYS_newfstatat, SYS_faccessat2,
      SYS_fstat,          SYS_brk,          SYS_mmap,       SYS_munmap,     SYS_close_range,
      SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_fchown};
  for (int call : kCalls) {
    seccomp_data data = {};
    data.nr = call;
    for (const ArchName& arch : kArches)
      if (arch.token == ::seccomp_arch_native()) data.arch = arch.audit;
    uint32_t action = evaluate(filter.program, data) & SECCOMP_RET_ACTION_FULL;
    if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG) return false;
  }
  return true;
}

Result<UniqueFd> load_seccomp(const SeccompFilter& filter) {
  sock_fprog program = {static_cast<unsigned short>(filter.program.size()),
                        const_cast<sock_filter*>(filter.program.data())};
  unsigned flags = filter.flags | (filter.notifies ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0u);
  long loaded = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  if (loaded == -1) return error_from_errno(errno, "linux.seccomp: load");
  return UniqueFd(filter.notifies ? static_cast<int>(loaded) : -1);
}

}  // namespace gantry::libcontainer
