// The first instructions of gantry-runtime, before the C library has begun.
//
// A start of a static program of libstdc++ costs some thirty page faults and as many CPUID
// instructions, each of which leaves a virtual machine: half a millisecond to two. A verb that
// enters a container must run from where the container cannot write (self_protection.h). So that
// nothing is started twice, the program is mapped anew from a read-only mount of its own and then
// named as the one that runs, in some fifteen system calls; without the right to that it is
// executed again from there, before anything has begun. Where neither goes (no right to mount, a
// kernel before 5.12), nothing has happened, and ensure_protected() finds another way or says why.
//
// Nothing here is needed for correctness: ensure_protected() checks what the program runs from.
#pragma once

namespace gantry::runtime {

// The verbs that enter a container: the program must be out of its reach (self_protection.h). The
// early start looks for these words anywhere on the command line: one that only looks like a verb
// costs an execution, no more.
inline constexpr const char* kEntering[] = {"create", "run", "exec", "restore"};

}  // namespace gantry::runtime
