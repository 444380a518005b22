/* Makes every sync of a file take SLOW_SYNC_US microseconds longer. Loaded into servers with LD_PRELOAD. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait(void) {
    static int us = -1;
    if (us < 0) us = atoi(getenv("SLOW_SYNC_US"));
    usleep(us);
}

int fdatasync(int file) {
    wait();
    return syscall(SYS_fdatasync, file);
}

int fsync(int file) {
    wait();
    return syscall(SYS_fsync, file);
}

int msync(void *address, size_t length, int flags) {
    wait();
    return syscall(SYS_msync, address, length, flags);
}
