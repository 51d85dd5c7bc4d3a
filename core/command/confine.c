#include "command/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0
#endif

/* The x32 calls of x86-64 are the same ones under numbers from here on. */
enum { X32_FIRST = 0x40000000, FILTER_MAX = 128, WRITES = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC };

static const unsigned refused[] = {
    SYS_execve, SYS_execveat, SYS_socket, SYS_socketpair, SYS_io_uring_setup, SYS_openat2,
    SYS_unlinkat, SYS_renameat2, SYS_mkdirat, SYS_linkat, SYS_symlinkat, SYS_mknodat, SYS_truncate,
    SYS_fchmodat, SYS_fchmod, SYS_fchownat, SYS_fchown, SYS_mount, SYS_umount2, SYS_kill,
#if defined(__x86_64__)
    SYS_creat, SYS_unlink, SYS_rename, SYS_renameat, SYS_mkdir, SYS_rmdir, SYS_link, SYS_symlink, SYS_mknod, SYS_chmod,
    SYS_chown, SYS_lchown,
#endif
};

_Static_assert(2 * sizeof(refused) / sizeof(refused[0]) + 2 * 5 + 7 <= FILTER_MAX, "all steps fit");

struct filter {
    struct sock_filter steps[FILTER_MAX];
    unsigned short count;
};

static void add(struct filter *f, struct sock_filter step)
{
    f->steps[f->count++] = step;
}

static void add_load(struct filter *f, size_t offset)
{
    add(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset));
}

static void add_refusal(struct filter *f)
{
    add(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
}

/* Refuses when the test of the loaded word with k holds, or with `otherwise` when it does not. */
static void add_test(struct filter *f, unsigned short test, unsigned k, bool otherwise)
{
    add(f, (struct sock_filter)BPF_JUMP((unsigned short)(BPF_JMP | test | BPF_K), k, otherwise, !otherwise));
    add_refusal(f);
}

/* Refuses to open a file for more than reading. The flags are argument number `flags` of the call. */
static void add_open(struct filter *f, unsigned call, unsigned flags)
{
    add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4));
    add_load(f, offsetof(struct seccomp_data, args) + flags * sizeof(uint64_t));   /* its lower half: little-endian */
    add_test(f, BPF_JSET, WRITES, false);
    add(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

void confine(void)
{
    struct filter f = {.count = 0};
    add_load(&f, offsetof(struct seccomp_data, arch));
    add_test(&f, BPF_JEQ, ARCH, true);              /* calls of another architecture have other numbers */
    add_load(&f, offsetof(struct seccomp_data, nr));
    add_test(&f, BPF_JGE, X32_FIRST, false);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        add_test(&f, BPF_JEQ, refused[i], false);
    add_open(&f, SYS_openat, 2);
#if defined(__x86_64__)
    add_open(&f, SYS_open, 1);
#endif
    add(&f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    struct sock_fprog program = {f.count, f.steps};
    if (ARCH != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}
