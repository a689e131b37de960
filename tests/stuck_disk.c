/* A disk that stands still: in processes that preload this, whoever waits for the disk waits for as
 * long as the file $STUCK_DISK is there. Nothing else is held up, as when another program keeps a
 * real disk busy. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_for_disk(void) {
    const char *stuck = getenv("STUCK_DISK");
    while (stuck && access(stuck, F_OK) == 0) usleep(5000);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int file) {
    wait_for_disk();
    return REAL(fsync)(file);
}

int fdatasync(int file) {
    wait_for_disk();
    return REAL(fdatasync)(file);
}

int sync_file_range(int file, off64_t offset, off64_t length, unsigned int flags) {
    wait_for_disk();
    return REAL(sync_file_range)(file, offset, length, flags);
}
