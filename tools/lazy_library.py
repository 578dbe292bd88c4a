#!/usr/bin/python3
"""Writes an assembler file that stands in for shared libraries until one of their functions is called.

usage: lazy_library.py --out FILE.S --library SONAME=PATH… ARCHIVE…

For every function that the archives lack and a library has, the file defines a hidden function of that name which jumps
through a table. The table's entries lead to gantry_lazy_load() at first (src/base/lazy_library.cc), which loads the
libraries and fills the whole table: a program that never calls them does not pay for loading, relocating and
initialising them. x86-64, System V ABI; not for data symbols.
"""

import argparse
import subprocess
import sys

HEAD = """# Made by tools/lazy_library.py.
	.text
# The arguments of whatever function is called first are kept: six integers, eight vectors, and %al (variadic).
	.type gantry_lazy_call, @function
gantry_lazy_call:
	push %rbp
	mov %rsp, %rbp
	push %rax
	push %rdi
	push %rsi
	push %rdx
	push %rcx
	push %r8
	push %r9
	push %r11
	sub $128, %rsp
	movups %xmm0, (%rsp)
	movups %xmm1, 16(%rsp)
	movups %xmm2, 32(%rsp)
	movups %xmm3, 48(%rsp)
	movups %xmm4, 64(%rsp)
	movups %xmm5, 80(%rsp)
	movups %xmm6, 96(%rsp)
	movups %xmm7, 112(%rsp)
	call gantry_lazy_load
	movups (%rsp), %xmm0
	movups 16(%rsp), %xmm1
	movups 32(%rsp), %xmm2
	movups 48(%rsp), %xmm3
	movups 64(%rsp), %xmm4
	movups 80(%rsp), %xmm5
	movups 96(%rsp), %xmm6
	movups 112(%rsp), %xmm7
	add $128, %rsp
	pop %r11
	pop %r9
	pop %r8
	pop %rcx
	pop %rdx
	pop %rsi
	pop %rdi
	pop %rax
	pop %rbp
	lea gantry_lazy_table(%rip), %r10
	jmp *(%r10,%r11,8)
	.size gantry_lazy_call, .-gantry_lazy_call
"""


def symbols(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def functions_of(path):
    found = set()
    for line in symbols("nm", "-D", "--defined-only", path):
        kind, name = line.split()[-2:]
        if kind in "TtWi":
            found.add(name.split("@")[0])
    return found


def missing_in(archives):
    wanted = set()
    for line in symbols("nm", "-u", *archives):
        words = line.split()
        if len(words) == 2 and words[0] == "U":
            wanted.add(words[1])
    return wanted


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--library", action="append", required=True)
    parser.add_argument("archives", nargs="+")
    options = parser.parse_args()
    wanted, rows, sonames = missing_in(options.archives), [], []
    for number, library in enumerate(options.library):
        soname, path = library.split("=", 1)
        sonames.append(soname)
        taken = {name for name, _ in rows}
        rows += [(name, number) for name in sorted(wanted & functions_of(path) - taken)]
    if not rows:
        sys.exit("lazy_library: the archives need nothing of the libraries")
    out = [HEAD]
    for index, (name, _) in enumerate(rows):
        out.append(f"""	.globl {name}
	.hidden {name}
	.type {name}, @function
{name}:
	jmp *gantry_lazy_table+{8 * index}(%rip)
	.size {name}, .-{name}
.Lfirst{index}:
	mov ${index}, %r11d
	jmp gantry_lazy_call
""")
    out.append("	.section .rodata\n")
    for index, (name, _) in enumerate(rows):
        out.append(f'.Lname{index}: .asciz "{name}"\n')
    for number, soname in enumerate(sonames):
        out.append(f'.Llibrary{number}: .asciz "{soname}"\n')
    out.append("	.data\n	.balign 8\n	.globl gantry_lazy_table\n	.hidden gantry_lazy_table\ngantry_lazy_table:\n")
    out += [f"	.quad .Lfirst{index}\n" for index in range(len(rows))]
    for label, values in (("gantry_lazy_names", [f".Lname{i}" for i in range(len(rows))] + ["0"]),
                          ("gantry_lazy_owners", [f".Llibrary{number}" for _, number in rows])):
        out.append(f"	.section .data.rel.ro,\"aw\"\n	.balign 8\n	.globl {label}\n	.hidden {label}\n{label}:\n")
        out += [f"	.quad {value}\n" for value in values]
    out.append("	.section .note.GNU-stack,\"\",@progbits\n")
    with open(options.out, "w") as file:
        file.write("".join(out))


if __name__ == "__main__":
    main()
