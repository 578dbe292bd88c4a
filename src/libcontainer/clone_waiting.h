// A child that is made without a copy of its maker's memory.
//
// fork(2) copies page tables, and afterwards both sides pay a page fault for every page they write:
// where page tables are a virtual machine's, that is the larger part of a container's start. A
// child that only sets itself up and then executes a program needs no copy (vfork(2)).
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "libcontainer/namespaces.h"

namespace gantry::libcontainer {

// clone3(2) with CLONE_VM and CLONE_VFORK and `flags`, into the cgroup2 directory `cgroup` unless
// that is -1. `child` runs in the child, in this process's memory, on a stack of its own, and never
// returns: it executes a program or ends. Until then the calling thread stands still, so the child
// has the thread's heap, errno and everything else to itself; what it changes stays changed, save
// descriptors, signal handlers, directories and the like, which are its own. The caller is
// single-threaded.
//
// `pid` is written before the child runs, as this process's pid namespace numbers it.
//
// Errors: `unsupported` on processors that it has not been written for; clone3's own.
Result<Clone> clone_waiting(uint64_t flags, int cgroup, pid_t& pid, void (*child)(void* context),
                            void* context);
bool can_clone_waiting();

}  // namespace gantry::libcontainer
