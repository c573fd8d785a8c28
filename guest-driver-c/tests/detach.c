// SPDX-License-Identifier: GPL-2.0
/* The device goes while it is used: by sysfs, by not answering, and with the process behind it. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define DRIVER	"/sys/bus/virtio/drivers/vcuda/"
#define MODULE	"/vm/vcuda.ko"

static int put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY), ret;

	CHECK(fd >= 0);
	ret = write(fd, value, strlen(value)) < 0 ? -1 : 0;
	close(fd);
	return ret;
}

static void device_name(char name[256])
{
	DIR *dir = opendir(DRIVER);
	struct dirent *entry;

	CHECK(dir);
	name[0] = 0;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, "virtio", 6))
			snprintf(name, 256, "%s", entry->d_name);
	closedir(dir);
	CHECK(name[0]);
}

struct waiter {
	struct client *client;
	pthread_t thread;
	int error;
	bool transfer;
};

static void *wait_for_nothing(void *argument)
{
	struct waiter *waiter = argument;
	int ret;

	if (waiter->transfer)
		ret = transfer_wait(waiter->client->fd, 1);
	else
		ret = wait_word(waiter->client->fd, 0, *(volatile uint32_t *)waiter->client->control,
				UINT64_MAX);
	waiter->error = ret ? errno : 0;
	return NULL;
}

/* A session with something of everything under way. */
struct busy {
	struct client client;
	struct waiter word, transfer;
	uint8_t *room, *window;
};

static void busy_start(struct busy *busy)
{
	uint64_t offset;

	memset(busy, 0, sizeof(*busy));
	CHECK(!client_open(&busy->client));
	busy->room = pages(1 << 20);
	CHECK(!memory_register(busy->client.fd, 2, busy->room, 1 << 19));
	CHECK(!memory_create(busy->client.fd, 3, VCUDA_MEMORY_WINDOW, 0, 8 * PAGE, &offset));
	busy->window = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, busy->client.fd,
			    offset);
	CHECK(busy->window != MAP_FAILED);
	CHECK(!transfer_submit(busy->client.fd, 1, busy->room + (1 << 19), 300000,
			       VCUDA_FROM_DEVICE));
	busy->word = (struct waiter){ .client = &busy->client };
	busy->transfer = (struct waiter){ .client = &busy->client, .transfer = true };
	CHECK(!pthread_create(&busy->word.thread, NULL, wait_for_nothing, &busy->word));
	CHECK(!pthread_create(&busy->transfer.thread, NULL, wait_for_nothing, &busy->transfer));
	usleep(50000);
}

/* All that is open fails with ENODEV, and what is mapped stays. */
static void busy_is_gone(struct busy *busy)
{
	struct pollfd pollfd = { .fd = busy->client.fd };
	struct vcuda_info info;
	uint64_t offset;

	CHECK(!pthread_join(busy->word.thread, NULL));
	CHECK(!pthread_join(busy->transfer.thread, NULL));
	CHECK(busy->word.error == ENODEV);
	CHECK(busy->transfer.error == ENODEV);
	CHECK(poll(&pollfd, 1, 0) == 1 && pollfd.revents == POLLHUP);
	REFUSED(ENODEV, ioctl(busy->client.fd, VCUDA_IOC_INFO, &info));
	REFUSED(ENODEV, ioctl(busy->client.fd, VCUDA_IOC_KICK));
	REFUSED(ENODEV, wait_word(busy->client.fd, 0,
				  *(volatile uint32_t *)busy->client.control, UINT64_MAX));
	REFUSED(ENODEV, memory_create(busy->client.fd, 9, VCUDA_MEMORY_WINDOW, 0, PAGE, &offset));
	REFUSED(ENODEV, transfer_submit(busy->client.fd, 9, busy->room, PAGE, 1));
	REFUSED(ENODEV, memory_destroy(busy->client.fd, 2));
	REFUSED(ENOENT, memory_destroy(busy->client.fd, 2));
	busy->window[5]++;
	munmap(busy->window, 8 * PAGE);
	munmap(busy->room, 1 << 20);
	client_close(&busy->client);
}

static void works(void)
{
	struct client client;
	uint64_t result;

	CHECK(!client_open(&client));
	CHECK(!command_run(&client, 0, HOLDINGS, 0, 0, &result));
	CHECK(result == 1);
	CHECK(statistics().pages_pinned == 0);
	client_close(&client);
}

static void unbinding_fails_what_is_open(void)
{
	struct busy busy;
	char name[256];

	busy_start(&busy);
	device_name(name);
	CHECK(!put(DRIVER "unbind", name));
	CHECK(open(DEVICE, O_RDWR) < 0);
	/* The module stays as long as a file is open. */
	REFUSED(EAGAIN, syscall(SYS_delete_module, "vcuda", O_NONBLOCK));
	CHECK(!put(DRIVER "bind", name));
	works();
	busy_is_gone(&busy);
	works();
	printf("ok unbinding_fails_what_is_open\n");
}

static void a_device_that_does_not_answer_stops_nobody(void)
{
	struct busy busy;
	struct client other;
	char name[256];
	double start;
	int status, ready[2];
	pid_t child;
	char byte;

	CHECK(!put("/sys/module/vcuda/parameters/timeout", "6"));
	busy_start(&busy);
	CHECK(!client_open(&other));
	CHECK(!pipe(ready));
	child = fork();
	if (!child) {
		struct client client;
		uint8_t *room = pages(1 << 20);

		CHECK(!client_open(&client));
		CHECK(!transfer_submit(client.fd, 1, room, 400000, VCUDA_FROM_DEVICE));
		CHECK(write(ready[1], "", 1) == 1);
		transfer_wait(client.fd, 1);
		_exit(1);
	}
	CHECK(read(ready[0], &byte, 1) == 1);
	/* The device hears this, and falls silent. */
	CHECK(!command_post(&other, 0, MUTE, 0, 0, &(uint32_t){ 0 }));
	usleep(50000);
	start = now();
	CHECK(!kill(child, SIGKILL));
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	client_close(&other);
	CHECK(now() - start < 4);
	busy_is_gone(&busy);
	CHECK(now() - start < 60);
	REFUSED(ENODEV, open(DEVICE, O_RDWR));
	device_name(name);
	CHECK(!put(DRIVER "unbind", name));
	CHECK(!put(DRIVER "bind", name));
	works();
	CHECK(!put("/sys/module/vcuda/parameters/timeout", "30"));
	printf("ok a_device_that_does_not_answer_stops_nobody\n");
}

static void the_module_goes_and_comes(void)
{
	struct client client;
	char parameters[64], altid[16] = { 0 };
	FILE *file = fopen("/sys/module/vcuda/parameters/altid", "r");

	CHECK(file && fgets(altid, sizeof(altid), file));
	fclose(file);
	snprintf(parameters, sizeof(parameters), "max_memory=24 altid=%d", atoi(altid));
	for (int i = 0; i < 5; i++) {
		int fd = open(MODULE, O_RDONLY);

		CHECK(fd >= 0);
		CHECK(!client_open(&client));
		REFUSED(EAGAIN, syscall(SYS_delete_module, "vcuda", O_NONBLOCK));
		client_close(&client);
		CHECK(!syscall(SYS_delete_module, "vcuda", O_NONBLOCK));
		CHECK(!syscall(SYS_finit_module, fd, parameters, 0));
		close(fd);
		works();
	}
	printf("ok the_module_goes_and_comes\n");
}

/* The process behind the device is killed when this says that it is ready. */
static void the_end_of_the_device_ends_waits(void)
{
	struct busy busy;

	CHECK(!put("/sys/module/vcuda/parameters/timeout", "6"));
	busy_start(&busy);
	printf("ready\n");
	busy_is_gone(&busy);
	CHECK(open(DEVICE, O_RDWR) < 0);
	CHECK(!syscall(SYS_delete_module, "vcuda", O_NONBLOCK));
	printf("ok the_end_of_the_device_ends_waits\n");
}

/* detach [orphaned] */
int detach(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "orphaned")) {
		the_end_of_the_device_ends_waits();
		return 0;
	}
	unbinding_fails_what_is_open();
	the_module_goes_and_comes();
	a_device_that_does_not_answer_stops_nobody();
	unbinding_fails_what_is_open();
	return 0;
}
