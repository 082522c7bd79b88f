/* The init of --init: runs one program, reaps orphans, forwards signals, ends as the program ends.
 *
 * argv: NAME -- PROGRAM ARGUMENTS...
 * Freestanding: no C library, no loader. Built by contrib/build-reaper; see reaper/__init__.py.
 */

typedef unsigned long word;
typedef long sword;

#if defined(__x86_64__)
enum { GETPID = 39, KILL = 62, FORK = 57, EXECVE = 59, EXIT = 231, WAIT4 = 61, SETPGID = 109,
       IOCTL = 16, SIGACTION = 13, SIGPROCMASK = 14, SIGTIMEDWAIT = 128, PRCTL = 157 };
static sword call(word n, word a, word b, word c, word d) {
    sword result;
    register word r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
static sword fork_process(void) { return call(FORK, 0, 0, 0, 0); }
#elif defined(__aarch64__)
enum { GETPID = 172, KILL = 129, CLONE = 220, EXECVE = 221, EXIT = 94, WAIT4 = 260, SETPGID = 154, IOCTL = 29,
       SIGACTION = 134, SIGPROCMASK = 135, SIGTIMEDWAIT = 137, PRCTL = 167 };
static sword call(word n, word a, word b, word c, word d) {
    register word x8 __asm__("x8") = n;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return (sword)x0;
}
__asm__(".globl _start\n_start: mov x0, sp\n bl begin\n");
static sword fork_process(void) { return call(CLONE, 17 /* SIGCHLD */, 0, 0, 0); }
#endif

enum { SIGCHLD = 17, SIGTTIN = 21, SIGTTOU = 22, BLOCK_ALL = 2, ENOENT = 2, EACCES = 13 };
enum { PR_SET_NAME = 15, TIOCSPGRP = 0x5410, WNOHANG = 1 };

struct action { word handler, flags, restorer, mask; };

static int starts(const char *text, const char *head) {
    while (*head)
        if (*text++ != *head++) return 0;
    return 1;
}

static int has_slash(const char *text) {
    for (; *text; text++)
        if (*text == '/') return 1;
    return 0;
}

/* execve, searching PATH as execvp does; the result is the exit code of failure. */
static int run(char **argv, char **envp) {
    char path[4096];
    const char *folders = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    int code = 127;
    if (has_slash(argv[0])) {
        sword error = -call(EXECVE, (word)argv[0], (word)argv, (word)envp, 0);
        return error == ENOENT ? 127 : 126;
    }
    for (char **entry = envp; *entry; entry++)
        if (starts(*entry, "PATH=")) folders = *entry + 5;
    for (;;) {
        word length = 0;
        while (*folders && *folders != ':' && length < sizeof path - 2) path[length++] = *folders++;
        if (!length) path[length++] = '.';
        path[length++] = '/';
        for (const char *name = argv[0]; *name && length < sizeof path - 1;) path[length++] = *name++;
        path[length] = 0;
        if (call(EXECVE, (word)path, (word)argv, (word)envp, 0) == -EACCES) code = 126;
        if (*folders++ != ':') return code;
    }
}

void begin(word *stack) {
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1), **envp = argv + argc + 1;
    struct action ignore = {1, 0, 0, 0}, standard = {0, 0, 0, 0};
    word all = ~0UL, none = 0;
    call(PRCTL, PR_SET_NAME, (word) "docker-init", 0, 0);
    if (argc < 3) call(EXIT, 125, 0, 0, 0);
    call(SIGPROCMASK, BLOCK_ALL, (word)&all, 0, 8);
    call(SIGACTION, SIGTTIN, (word)&ignore, 0, 8);
    call(SIGACTION, SIGTTOU, (word)&ignore, 0, 8);
    sword child = fork_process();
    if (child == 0) {
        /* A group of its own, in the terminal's foreground where there is one. */
        int group = (int)call(GETPID, 0, 0, 0, 0);
        call(SETPGID, 0, 0, 0, 0);
        call(IOCTL, 0, TIOCSPGRP, (word)&group, 0);
        call(SIGACTION, SIGTTIN, (word)&standard, 0, 8);
        call(SIGACTION, SIGTTOU, (word)&standard, 0, 8);
        call(SIGPROCMASK, BLOCK_ALL, (word)&none, 0, 8);
        call(EXIT, (word)run(argv + 2, envp), 0, 0, 0);
    }
    if (child < 0) call(EXIT, 125, 0, 0, 0);
    for (;;) {
        int status;
        sword number = call(SIGTIMEDWAIT, (word)&all, 0, 0, 8);
        if (number > 0 && number != SIGCHLD) {
            call(KILL, (word)child, (word)number, 0, 0);
            continue;
        }
        for (;;) {
            sword ended = call(WAIT4, (word)-1, (word)&status, WNOHANG, 0);
            if (ended <= 0) break;
            if (ended == child) {
                int by_signal = status & 0x7f;
                call(EXIT, (word)(by_signal ? 128 + by_signal : status >> 8 & 0xff), 0, 0, 0);
            }
        }
    }
}
