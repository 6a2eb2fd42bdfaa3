// Replaces three functions of the C library: getaddrinfo knows zoom.test, pthread_create can fail, and clock_gettime
// can return a time one hour ahead.
//
// Loaded by LD_PRELOAD into one process of a test. Needs no privileges, name server or change of the machine.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef int get_time(clockid_t, struct timespec *);
typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

// zoom.test has the addresses 127.0.0.1 and 127.0.0.2, in this order.
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    look_up *real = (look_up *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (name == NULL || strcmp(name, "zoom.test") != 0)
        return real(name, service, hints, found);
    int failed = real("127.0.0.1", service, hints, found);
    if (failed)
        return failed;
    struct addrinfo *last = *found;
    while (last->ai_next != NULL)
        last = last->ai_next;
    return real("127.0.0.2", service, hints, &last->ai_next);
}

// Fails for the thread with the number FAIL_THREAD; the first thread that the process creates has the number 1. Fails
// for all threads while the file at the path FAIL_WHILE exists.
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    static atomic_int number;
    const char *failing = getenv("FAIL_THREAD");
    if (failing != NULL && atoi(failing) == ++number)
        return EAGAIN;
    const char *file = getenv("FAIL_WHILE");
    if (file != NULL && access(file, F_OK) == 0)
        return EAGAIN;
    create *real = (create *)dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, attributes, start, argument);
}

// The wall clock is an hour ahead while the file at the path CLOCK_AHEAD_WHILE exists. The monotonic clock is
// unchanged.
int clock_gettime(clockid_t clock, struct timespec *time) {
    static get_time *real;
    if (real == NULL)
        real = (get_time *)dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, time);
    const char *file = getenv("CLOCK_AHEAD_WHILE");
    if (!failed && clock == CLOCK_REALTIME && file != NULL && access(file, F_OK) == 0)
        time->tv_sec += 3600;
    return failed;
}
