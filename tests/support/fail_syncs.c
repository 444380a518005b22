/* Has syncs of the journal's files fail while the file FAIL_SYNCS is there. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int file) {
    const char *path = getenv("FAIL_SYNCS");
    if (path && access(path, F_OK) == 0) {
        char link[64], name[PATH_MAX] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        if (readlink(link, name, sizeof name - 1) > 0 && strstr(name, "/journal/")) {
            errno = EIO;
            return -1;
        }
    }
    return syscall(SYS_fdatasync, file);
}
