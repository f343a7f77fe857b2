/* Faults of a disk and of a clock, put under a process by LD_PRELOAD.
 *
 * FAULTS_PAGE names a file of one page that the process and its test map: what is written there counts at once.
 * FAULTS_MATCH is a part of the paths that the disk's faults are for. FAULTS_JOURNAL, if set, names a file to which
 * every write, truncation, sync and removal of such a path is appended, in the order in which they happened, so that a test can
 * say what was on the disk at any moment, and what was only on its way.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct page {
    volatile int32_t sync_error;  /* errno of fsync and fdatasync; -1: they hang until it is 0 */
    volatile int32_t write_error; /* errno of writes */
    volatile int64_t clock_shift; /* nanoseconds that are added to the clock */
    volatile int64_t hanging;     /* calls that hang now */
};

struct record {
    char kind; /* W, T, S, F, U: write, truncate, sync, sync that failed, unlink */
    char name[63];
    int64_t offset, length;
};

static struct page *page;
static int journal = -1;
static const char *match;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_PAGE"), *log = getenv("FAULTS_JOURNAL");
    match = getenv("FAULTS_MATCH");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR) : -1;
    if (fd >= 0) {
        void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        page = at == MAP_FAILED ? NULL : at;
        close(fd);
    }
    if (log)
        journal = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* The name of a descriptor's file if the faults are for it, else NULL. */
static const char *ours(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (!match || !page || length < 0)
        return NULL;
    path[length] = 0;
    return strstr(path, match) ? strrchr(path, '/') + 1 : NULL;
}

static void note(char kind, const char *name, const void *data, int64_t offset, int64_t length) {
    if (journal < 0)
        return;
    struct record record = {.kind = kind, .offset = offset, .length = length};
    strncpy(record.name, name, sizeof record.name - 1);
    struct iovec parts[2] = {{&record, sizeof record}, {(void *)data, data ? (size_t)length : 0}};
    if (writev(journal, parts, 2) < 0)
        abort();
}

static int sync_as(const char *real, int fd) {
    char path[PATH_MAX];
    const char *name = ours(fd, path);
    if (name && page->sync_error < 0) {
        __atomic_add_fetch(&page->hanging, 1, __ATOMIC_SEQ_CST);
        while (page->sync_error < 0)
            usleep(1000);
        __atomic_sub_fetch(&page->hanging, 1, __ATOMIC_SEQ_CST);
    }
    if (name && page->sync_error > 0) {
        note('F', name, NULL, 0, 0);
        errno = page->sync_error;
        return -1;
    }
    int (*call)(int) = (int (*)(int))dlsym(RTLD_NEXT, real);
    int result = call(fd);
    if (name && result == 0)
        note('S', name, NULL, 0, 0);
    return result;
}

int fsync(int fd) { return sync_as("fsync", fd); }
int fdatasync(int fd) { return sync_as("fdatasync", fd); }

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    static ssize_t (*call)(int, const void *, size_t, off64_t);
    if (!call)
        call = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    char path[PATH_MAX];
    const char *name = ours(fd, path);
    if (name && page->write_error) {
        errno = page->write_error;
        return -1;
    }
    ssize_t result = call(fd, data, length, offset);
    if (name && result > 0)
        note('W', name, data, offset, result);
    return result;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

int ftruncate64(int fd, off64_t length) {
    static int (*call)(int, off64_t);
    if (!call)
        call = (int (*)(int, off64_t))dlsym(RTLD_NEXT, "ftruncate64");
    char path[PATH_MAX];
    const char *name = ours(fd, path);
    if (name && page->write_error) {
        errno = page->write_error;
        return -1;
    }
    int result = call(fd, length);
    if (name && result == 0)
        note('T', name, NULL, length, 0);
    return result;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int unlink(const char *path) {
    static int (*call)(const char *);
    if (!call)
        call = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    int result = call(path);
    if (result == 0 && match && strstr(path, match) && strrchr(path, '/'))
        note('U', strrchr(path, '/') + 1, NULL, 0, 0);
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && page && clock == CLOCK_REALTIME && page->clock_shift) {
        int64_t nanos = now->tv_sec * 1000000000LL + now->tv_nsec + page->clock_shift;
        now->tv_sec = nanos / 1000000000LL;
        now->tv_nsec = nanos % 1000000000LL;
    }
    return result;
}
