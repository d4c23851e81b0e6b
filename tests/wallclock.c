/* Moves the wall clock of one process, and nothing else: preload it, and write seconds into the file $WALL_CLOCK_AHEAD.
 *
 *   cc -shared -fPIC -O2 -o wallclock.so wallclock.c
 *   WALL_CLOCK_AHEAD=/tmp/ahead LD_PRELOAD=./wallclock.so python …       then: echo -3600 > /tmp/ahead
 *
 * The file is read anew each time somebody asks what time it is. The monotonic clock and every wait stay as they
 * are, as when an administrator or NTP sets the clock. libfaketime cannot do that: it breaks Python's time.sleep.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double ahead(void)
{
    const char *path = getenv("WALL_CLOCK_AHEAD");
    char text[32] = "";
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (file < 0)
        return 0;
    if (read(file, text, sizeof text - 1) <= 0)
        text[0] = '\0';
    close(file);
    return strtod(text, NULL);
}

int clock_gettime(clockid_t which, struct timespec *at)
{
    int failed = (int)syscall(SYS_clock_gettime, which, at);

    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        double whole = floor(ahead());
        at->tv_sec += (time_t)whole;
    }
    return failed;
}

time_t time(time_t *also)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    if (also)
        *also = at.tv_sec;
    return at.tv_sec;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
