#include "libcontainer/seccomp.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "libcontainer/default_profile.h"

namespace gantry::libcontainer {
namespace {

constexpr uint32_t kErrno = SECCOMP_RET_ERRNO;

seccomp_data call(int number, std::initializer_list<uint64_t> args = {},
                  uint32_t arch = AUDIT_ARCH_X86_64) {
  seccomp_data data = {};
  data.nr = number;
  data.arch = arch;
  std::copy(args.begin(), args.end(), data.args);
  return data;
}

Seccomp one_rule(const char* op, uint64_t value, uint64_t value_two = 0) {
  Seccomp out;
  out.default_action = "SCMP_ACT_ERRNO";
  Syscall rule;
  rule.names = {"read"};
  rule.action = "SCMP_ACT_ALLOW";
  SyscallArg arg;
  arg.index = 1;
  arg.op = op;
  arg.value = value;
  arg.value_two = value_two;
  rule.args = {arg};
  out.syscalls = {rule};
  return out;
}

TEST(Seccomp, EveryOperatorComparesAll64Bits) {
  const uint64_t kValues[] = {0,           1,           0xffffffff,  0x100000000,
                              0x100000001, 0x1ffffffff, 0x200000000, UINT64_MAX};
  for (uint64_t value : kValues) {
    const std::pair<const char*, bool (*)(uint64_t, uint64_t)> kCases[] = {
        {"SCMP_CMP_NE", [](uint64_t a, uint64_t b) { return a != b; }},
        {"SCMP_CMP_LT", [](uint64_t a, uint64_t b) { return a < b; }},
        {"SCMP_CMP_LE", [](uint64_t a, uint64_t b) { return a <= b; }},
        {"SCMP_CMP_EQ", [](uint64_t a, uint64_t b) { return a == b; }},
        {"SCMP_CMP_GE", [](uint64_t a, uint64_t b) { return a >= b; }},
        {"SCMP_CMP_GT", [](uint64_t a, uint64_t b) { return a > b; }}};
    for (auto [op, holds] : kCases) {
      Result<SeccompFilter> filter = compile_seccomp(one_rule(op, value));
      ASSERT_TRUE(filter);
      for (uint64_t argument : kValues)
        EXPECT_EQ(evaluate(filter->program, call(SYS_read, {9, argument})),
                  holds(argument, value) ? SECCOMP_RET_ALLOW : (kErrno | EPERM))
            << argument << " " << op << " " << value;
    }
  }
  Result<SeccompFilter> masked =
      compile_seccomp(one_rule("SCMP_CMP_MASKED_EQ", 0xff000000ff, 0x1200000034));
  ASSERT_TRUE(masked);
  EXPECT_EQ(evaluate(masked->program, call(SYS_read, {0, 0xab120000cd34})), SECCOMP_RET_ALLOW);
  EXPECT_EQ(evaluate(masked->program, call(SYS_read, {0, 0xab130000cd34})), kErrno | EPERM);
}

// libseccomp's own compiler is the oracle, for every call number and the arguments the profile
// tests.
TEST(Seccomp, TheDefaultProfileMeansWhatLibseccompMakesOfIt) {
  Seccomp profile = default_seccomp(default_capabilities(), "6.1.0");
  Result<SeccompFilter> ours = compile_seccomp(profile);
  ASSERT_TRUE(ours) << ours.error().message();

  scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  ASSERT_EQ(seccomp_arch_add(context, SCMP_ARCH_X86), 0);
  ASSERT_EQ(seccomp_arch_add(context, SCMP_ARCH_X32), 0);
  for (const Syscall& rule : profile.syscalls) {
    uint32_t action = rule.action == "SCMP_ACT_ALLOW"
                          ? SCMP_ACT_ALLOW
                          : SCMP_ACT_ERRNO(rule.errno_ret.value_or(EPERM));
    for (const std::string& name : rule.names) {
      int number = seccomp_syscall_resolve_name(name.c_str());
      if (number == __NR_SCMP_ERROR) continue;
      std::vector<scmp_arg_cmp> args;
      for (const SyscallArg& arg : rule.args) {
        scmp_compare op = arg.op == "SCMP_CMP_EQ"   ? SCMP_CMP_EQ
                          : arg.op == "SCMP_CMP_LT" ? SCMP_CMP_LT
                          : arg.op == "SCMP_CMP_GT" ? SCMP_CMP_GT
                                                    : SCMP_CMP_MASKED_EQ;
        args.push_back({arg.index, op, arg.value, arg.value_two});
      }
      ASSERT_EQ(seccomp_rule_add_array(context, action, number, static_cast<unsigned>(args.size()),
                                       args.data()),
                0)
          << name;
    }
  }
  Result<UniqueFd> memory = sys::memfd_create("oracle", 0);
  ASSERT_TRUE(memory);
  ASSERT_EQ(seccomp_export_bpf(context, memory->get()), 0);
  seccomp_release(context);
  ASSERT_EQ(::lseek(memory->get(), 0, SEEK_SET), 0);
  Result<std::string> bytes = sys::read_all(memory->get());
  ASSERT_TRUE(bytes);
  std::vector<sock_filter> oracle(bytes->size() / sizeof(sock_filter));
  std::memcpy(oracle.data(), bytes->data(), bytes->size());

  const uint64_t kArguments[] = {
      0,          1,          8,           37, 38, 39, 40, 41, 0x20000, 0x20008, 0x10000000,
      0x7e020000, 0xffffffff, 0x100000026, 42, 43, 44, 47, 48, 127,     128,     0x10000002a};
  // Bounded by what libseccomp 2.5.4 knows (449) and by the stretch where newer calls answer
  // ENOSYS.
  for (uint32_t arch : {uint32_t{AUDIT_ARCH_X86_64}, uint32_t{AUDIT_ARCH_I386}})
    for (int number = 0; number < 450; ++number) {
      if (number == 335 || number == 336) continue;  // uretprobe, which libseccomp does not know
      for (uint64_t argument : kArguments) {
        if (arch == AUDIT_ARCH_I386 && argument > UINT32_MAX)
          continue;  // its registers have 32 bits
        seccomp_data data = call(number, {argument, argument}, arch);
        // On i386 libseccomp also takes socketcall and ipc apart; the profile allows both as they
        // are.
        ASSERT_EQ(evaluate(ours->program, data), evaluate(oracle, data))
            << "arch " << std::hex << arch << " call " << std::dec << number << " argument "
            << argument;
      }
    }
}

TEST(Seccomp, AfAlgAndVsockSocketsAreRefused) {
  Result<SeccompFilter> filter = compile_seccomp(default_seccomp(default_capabilities()));
  ASSERT_TRUE(filter);
  for (auto [number, arch] : {std::pair<int, uint32_t>{SYS_socket, AUDIT_ARCH_X86_64},
                              std::pair<int, uint32_t>{359, AUDIT_ARCH_I386}}) {
    EXPECT_EQ(evaluate(filter->program, call(number, {38}, arch)), kErrno | EPERM);
    EXPECT_EQ(evaluate(filter->program, call(number, {40}, arch)), kErrno | EPERM);
    for (uint64_t family : {1, 2, 10, 16, 17, 37, 39, 41, 42, 43, 44, 45, 48, 100})
      EXPECT_EQ(evaluate(filter->program, call(number, {family}, arch)), SECCOMP_RET_ALLOW)
          << family;
  }
  // The kernel drops what is above 32 bits.
  for (uint64_t above : {uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{UINT32_MAX}})
    for (uint64_t family : {38, 40})
      EXPECT_EQ(evaluate(filter->program, call(SYS_socket, {above | family})), kErrno | EPERM);
}

TEST(Seccomp, CallsNewerThanTheProfileAnswerEnosys) {
  Result<SeccompFilter> filter = compile_seccomp(default_seccomp(default_capabilities()));
  ASSERT_TRUE(filter);
  EXPECT_EQ(evaluate(filter->program, call(900)), kErrno | ENOSYS);
  EXPECT_EQ(evaluate(filter->program, call(SYS_kexec_load)), kErrno | EPERM);
  EXPECT_EQ(evaluate(filter->program, call(SYS_clone3)), kErrno | ENOSYS);
  EXPECT_EQ(evaluate(filter->program, call(452)), SECCOMP_RET_ALLOW);  // fchmodat2
  EXPECT_EQ(evaluate(filter->program, call(SYS_read, {}, AUDIT_ARCH_AARCH64)),
            SECCOMP_RET_KILL_THREAD);
}

TEST(Seccomp, UnknownWordsAreNamed) {
  auto error = [](auto change) {
    Seccomp seccomp = one_rule("SCMP_CMP_EQ", 0);
    change(seccomp);
    Result<SeccompFilter> filter = compile_seccomp(seccomp);
    return filter ? std::string() : filter.error().message();
  };
  EXPECT_EQ(error([](Seccomp& s) { s.syscalls[0].names = {"blub"}; }),
            "linux.seccomp.syscalls[0].names: unknown system call \"blub\"");
  EXPECT_EQ(error([](Seccomp& s) { s.syscalls[0].action = "X"; }),
            "linux.seccomp.syscalls[0].action: unknown action \"X\"");
  EXPECT_EQ(error([](Seccomp& s) { s.syscalls[0].args[0].op = "X"; }),
            "linux.seccomp.syscalls[0].args: unknown operator \"X\"");
  EXPECT_EQ(error([](Seccomp& s) { s.architectures = {"X"}; }),
            "linux.seccomp.architectures: unknown architecture \"X\"");
}

TEST(Seccomp, ARuleWithTheDefaultActionIsLeftOut) {
  Seccomp seccomp = one_rule("SCMP_CMP_EQ", 0);
  seccomp.syscalls[0].action = "SCMP_ACT_ERRNO";
  Result<SeccompFilter> filter = compile_seccomp(seccomp);
  ASSERT_TRUE(filter);
  EXPECT_EQ(evaluate(filter->program, call(SYS_read)), kErrno | EPERM);
}

TEST(Seccomp, TheCacheGivesTheSameFilterAndIgnoresDamage) {
  char directory[] = "/tmp/gantry-seccomp-XXXXXX";
  ASSERT_TRUE(::mkdtemp(directory));
  Seccomp seccomp = default_seccomp(default_capabilities());
  Result<SeccompFilter> first = cached_seccomp(seccomp, directory);
  Result<SeccompFilter> second = cached_seccomp(seccomp, directory);
  ASSERT_TRUE(first && second);
  auto same = [&](const SeccompFilter& other) {
    return other.program.size() == first->program.size() &&
           std::memcmp(other.program.data(), first->program.data(),
                       first->program.size() * sizeof(sock_filter)) == 0;
  };
  EXPECT_TRUE(same(*second));
  Result<std::vector<std::string>> names = fs::list_directory(directory);
  ASSERT_TRUE(names && names->size() == 1);
  // The entry of another profile under this name is not taken.
  ASSERT_TRUE(fs::write_file(std::string(directory) + "/" + names->front(), "something else"));
  Result<SeccompFilter> third = cached_seccomp(seccomp, directory);
  ASSERT_TRUE(third);
  EXPECT_TRUE(same(*third));
  ASSERT_TRUE(fs::remove_tree(directory));
}

}  // namespace
}  // namespace gantry::libcontainer
