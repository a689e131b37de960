/* Emulates a power loss for the processes that preload it: keeps, beside the directory
 * $POWER_LOSS_DIR, a shadow in $POWER_LOSS_SHADOW of what would be left of it.
 *
 * A file's content enters the shadow when that file is fsynced, and only then. Names (creations,
 * renames, removals) enter with any fsync below the directory, as with a journalling file system.
 * A named file that was never synced is empty. Lenient where real disks are not: no torn pages,
 * and nothing is reordered. So passing is necessary, not sufficient; failing is real. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *shadow;

static void die(const char *what) {
    perror(what);
    abort();
}

/* An inode number is used again after a removal; with the time of birth it names one file. False
 * when another thread has removed the file meanwhile. */
static int content_name(const char *path, char *out) {
    struct statx data;
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &data) != 0) {
        if (errno == ENOENT) return 0;
        die("power_loss: statx");
    }
    snprintf(out, PATH_MAX, "%s/%llu-%lld-%u", shadow, (unsigned long long)data.stx_ino,
             (long long)data.stx_btime.tv_sec, data.stx_btime.tv_nsec);
    return 1;
}

/* In one step, so that a kill in the middle leaves the earlier content. */
static void keep_content(const char *path) {
    static char buffer[1 << 20];
    char target[PATH_MAX], draft[PATH_MAX + 8];
    if (!content_name(path, target)) return;
    snprintf(draft, sizeof draft, "%s.draft", target);
    int in = open(path, O_RDONLY);
    if (in < 0 && errno == ENOENT) return;
    int out = open(draft, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (in < 0 || out < 0) die("power_loss: open");
    ssize_t count;
    while ((count = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, count) != count) die("power_loss: write");
    if (count < 0 || close(in) != 0 || close(out) != 0 || rename(draft, target) != 0)
        die("power_loss: copy");
}

static void walk(const char *dir, FILE *names, int keep) {
    DIR *entries = opendir(dir);
    if (!entries && errno == ENOENT) return;
    if (!entries) die("power_loss: opendir");
    struct dirent *entry;
    while ((entry = readdir(entries))) {
        char path[PATH_MAX], content[PATH_MAX];
        struct stat data;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (lstat(path, &data) != 0) continue;
        if (!content_name(path, content)) continue;
        if (S_ISDIR(data.st_mode)) {
            fprintf(names, "d\t%s\t-\n", path + strlen(root) + 1);
            walk(path, names, keep);
        } else {
            if (keep) keep_content(path);
            fprintf(names, "f\t%s\t%s\n", path + strlen(root) + 1, strrchr(content, '/') + 1);
        }
    }
    closedir(entries);
}

static void keep_names(int with_contents) {
    char draft[PATH_MAX], target[PATH_MAX];
    snprintf(draft, sizeof draft, "%s/names.draft", shadow);
    snprintf(target, sizeof target, "%s/names", shadow);
    FILE *names = fopen(draft, "w");
    if (!names) die("power_loss: names");
    walk(root, names, with_contents);
    if (fclose(names) != 0 || rename(draft, target) != 0) die("power_loss: names");
}

__attribute__((constructor)) static void start(void) {
    root = getenv("POWER_LOSS_DIR");
    shadow = getenv("POWER_LOSS_SHADOW");
    /* Programs that this one starts would take what it has not synced for what was there. */
    unsetenv("LD_PRELOAD");
    /* What is there at the start is on disk. */
    if (root && shadow) keep_names(1);
}

static int synced(int fd, const char *which) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, which);
    int result = real(fd);
    if (result != 0 || !root || !shadow) return result;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) die("power_loss: readlink");
    path[len] = 0;
    size_t prefix = strlen(root);
    if (strncmp(path, root, prefix) != 0 || (path[prefix] != 0 && path[prefix] != '/'))
        return result;
    pthread_mutex_lock(&lock);
    struct stat data;
    if (lstat(path, &data) == 0 && S_ISREG(data.st_mode)) keep_content(path);
    keep_names(0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
