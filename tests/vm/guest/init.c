/* First process of the virtual machine: loads what the kernel needs for its disk, mounts it and
 * hands over to systemd. Debian's own initrd would have to be made under emulation, for minutes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROOT "/root"
#define DISK "/dev/vda"
#define ATTEMPTS 200 /* of 50 ms */

static void die(const char *what)
{
    dprintf(1, "init: %s: %s\n", what, strerror(errno));
    for (;;)
        pause(); /* the kernel would panic; whoever started the machine has a timeout */
}

static void load(const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
        die(name);
    close(fd);
}

static void load_all(void)
{
    char line[256];
    FILE *list = fopen("/modules", "r"); /* in the order in which they need each other */
    if (!list)
        die("/modules");
    while (fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = 0;
        load(line);
    }
    fclose(list);
}

static void wait_for_disk(void)
{
    const struct timespec pause = {0, 50 * 1000 * 1000};
    for (int i = 0; i < ATTEMPTS && access(DISK, F_OK); i++)
        nanosleep(&pause, NULL);
}

int main(void)
{
    if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL))
        die("/dev");
    int console = open("/dev/console", O_RDWR);
    for (int fd = 0; console >= 0 && fd < 3; fd++)
        dup2(console, fd);
    load_all();
    wait_for_disk();
    if (mount(DISK, ROOT, "ext4", MS_NOATIME, NULL))
        die(DISK);
    if (mount("/dev", ROOT "/dev", NULL, MS_MOVE, NULL) || chdir(ROOT)
        || mount(ROOT, "/", NULL, MS_MOVE, NULL) || chroot("."))
        die(ROOT);
    execl("/sbin/init", "/sbin/init", (char *)NULL);
    die("/sbin/init");
}
