/* Shows a process a wall clock that is off by the seconds in the file WRONG_CLOCK, and leaves all other clocks alone.
   Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *time) {
    int outcome = syscall(SYS_clock_gettime, id, time);
    const char *path = getenv("WRONG_CLOCK");
    if (outcome == 0 && id == CLOCK_REALTIME && path) {
        char text[32] = "";
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atoll(text);
            close(file);
        }
    }
    return outcome;
}
