/* Steps in between a process and its kernel: sets its wall clock, and kills it at one of its calls. Loaded by LD_PRELOAD.
   What it is to do stands in a file that is mapped into memory, so that it changes while the process runs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BEFORE, WITHIN, AFTER, NEVER };

struct orders {
    volatile int64_t ahead; /* nanoseconds that the wall clock is wrong */
    volatile int64_t left;  /* the process is killed at the call that makes this 0 */
    volatile int64_t side;  /* BEFORE that call, WITHIN or AFTER it */
    volatile int64_t seen;  /* calls that were counted */
};

static struct orders none, *orders = &none;
static int is_counted;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("INTERPOSER_ORDERS");
    int file = name == NULL ? -1 : open(name, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(struct orders), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) orders = found;
    close(file);
}

/* Count the calls of this process from here on. */
void interposer_count(void) { is_counted = 1; }

static void die(void) {
    for (;;) syscall(SYS_kill, getpid(), SIGKILL);
}

/* What is to happen at this call; does not return when it is to die before it. */
static int fate(void) {
    if (!is_counted) return NEVER;
    __atomic_add_fetch(&orders->seen, 1, __ATOMIC_SEQ_CST);
    if (__atomic_sub_fetch(&orders->left, 1, __ATOMIC_SEQ_CST) != 0) return NEVER;
    if (orders->side == BEFORE) die();
    return orders->side;
}

static long done(int fate, long result) {
    if (fate != NEVER) die();
    return result;
}

/* As much of it as gets done. */
static size_t part(int fate, size_t size) { return fate == WITHIN ? size / 2 : size; }

ssize_t write(int file, const void *data, size_t size) {
    int end = fate();
    return done(end, syscall(SYS_write, file, data, part(end, size)));
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    int end = fate();
    return done(end, syscall(SYS_pwrite64, file, data, part(end, size), at));
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) { return pwrite64(file, data, size, at); }

ssize_t writev(int file, const struct iovec *parts, int count) {
    int end = fate();
    return done(end, syscall(SYS_writev, file, parts, (int)part(end, count)));
}

ssize_t sendto(int file, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
    int end = fate();
    return done(end, syscall(SYS_sendto, file, data, part(end, size), flags, to, length));
}

ssize_t send(int file, const void *data, size_t size, int flags) { return sendto(file, data, size, flags, NULL, 0); }

ssize_t sendmsg(int file, const struct msghdr *message, int flags) {
    int end = fate();
    return done(end, syscall(SYS_sendmsg, file, message, flags));
}

int connect(int file, const struct sockaddr *to, socklen_t length) {
    int end = fate();
    return done(end, syscall(SYS_connect, file, to, length));
}

int fsync(int file) {
    int end = fate();
    return done(end, syscall(SYS_fsync, file));
}

int fdatasync(int file) {
    int end = fate();
    return done(end, syscall(SYS_fdatasync, file));
}

int ftruncate64(int file, off64_t size) {
    int end = fate();
    return done(end, syscall(SYS_ftruncate, file, size));
}

int ftruncate(int file, off_t size) { return ftruncate64(file, size); }

int rename(const char *from, const char *to) {
    int end = fate();
    return done(end, syscall(SYS_rename, from, to));
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    int end = fate();
    return done(end, syscall(SYS_renameat2, from_folder, from, to_folder, to, 0));
}

int unlink(const char *name) {
    int end = fate();
    return done(end, syscall(SYS_unlink, name));
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t moment = now->tv_sec * 1000000000LL + now->tv_nsec + orders->ahead;
        now->tv_sec = moment / 1000000000LL;
        now->tv_nsec = moment % 1000000000LL;
    }
    return (int)result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    if (kept != NULL) *kept = exact.tv_sec;
    return exact.tv_sec;
}
