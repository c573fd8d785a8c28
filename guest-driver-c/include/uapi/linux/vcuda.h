/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR MIT OR Apache-2.0) */
/*
 * /dev/vcuda: a CUDA session for each open file.
 *
 * A client creates its control memory, maps it, and starts the session with a greeting. Commands
 * then go through the ring in the control memory; the ioctls below ring the doorbell when the
 * other side sleeps, sleep until the other side has written a word, and make memory known to it.
 *
 * Errors that every ioctl may return: EINVAL (unknown flag, reserved field not zero, or a value out
 * of range), EFAULT, EINTR, ENODEV (the device is gone), EPIPE (the session has ended), ENOTTY
 * (unknown ioctl), EPERM (another process than the one that opened the file), EIO (an answer of the
 * device that makes no sense). ENOMEM: memory is short, or a limit is reached. EEXIST: the id is in
 * use. ENOENT: there is no such id. EBUSY: the memory is just being made or destroyed.
 * poll() reports EPOLLHUP once the session or the device is gone.
 */
#ifndef _UAPI_LINUX_VCUDA_H
#define _UAPI_LINUX_VCUDA_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VCUDA_UAPI_VERSION	1

/* Memory comes in pages of this size, whatever the kernel's own. */
#define VCUDA_PAGE_SIZE		4096

struct vcuda_info {
	__u32 version;		/* VCUDA_UAPI_VERSION of the driver */
	__u32 session;
	__u64 max_memory;	/* bytes that this file may create, register and transfer at once */
	__u64 max_transfer;	/* bytes of one transfer */
	__u64 reserved[5];
};

/* The driver passes both greetings on without looking into them. */
struct vcuda_start {
	__u64 greeting;		/* address of the client's greeting */
	__u64 answer;		/* address of room for the worker's */
	__u32 greeting_len;
	__u32 answer_len;	/* in: bytes of room; out: bytes written */
	__u64 reserved[2];
};

#define VCUDA_MEMORY_CONTROL	1
#define VCUDA_MEMORY_WINDOW	2

/* Memory of the driver, zeroed. `id` is the client's choice; ids are not shared with transfers. */
struct vcuda_memory {
	__u64 id;
	__u64 len;		/* a multiple of VCUDA_PAGE_SIZE */
	__u64 address;		/* WINDOW: offset in the window; CONTROL: 0 */
	__u32 kind;
	__u32 flags;		/* 0 */
	__u64 map_offset;	/* out: where mmap() finds it */
	__u64 reserved;
};

/* Pages of the process, pinned until they are destroyed. */
struct vcuda_register {
	__u64 id;
	__u64 address;		/* a multiple of VCUDA_PAGE_SIZE */
	__u64 len;		/* a multiple of VCUDA_PAGE_SIZE */
	__u32 flags;		/* 0 */
	__u32 reserved;
};

#define VCUDA_TO_DEVICE		1
#define VCUDA_FROM_DEVICE	2

/*
 * Pages of the process, pinned until the device has read or written them. The device does so when
 * it executes the copy command that names `id`, which the client puts into the ring after the
 * submission. `id` is the client's choice and may be used again after the wait.
 */
struct vcuda_transfer {
	__u64 id;
	__u64 address;		/* any */
	__u64 len;		/* at most max_transfer */
	__u32 direction;
	__u32 flags;		/* 0 */
};

/* Sleeps while the u32 at `offset` of the control memory is `expected`. */
struct vcuda_wait {
	__u32 offset;
	__u32 expected;
	__u64 timeout_ns;
};

/* Counted since the device appeared, over all sessions. */
struct vcuda_statistics {
	__u64 requests;		/* chains given to the device */
	__u64 kicks;		/* doorbells rung by VCUDA_IOC_KICK */
	__u64 events;
	__u64 sleeps;		/* times that VCUDA_IOC_WAIT slept */
	__u64 bytes_transferred;
	__u64 bytes_copied;	/* bulk bytes that the kernel copied itself */
	__u64 pages_pinned;	/* at present */
	__u64 sessions;		/* at present */
};

#define VCUDA_IOC_INFO			_IOR('V', 0x00, struct vcuda_info)
#define VCUDA_IOC_START			_IOWR('V', 0x01, struct vcuda_start)
#define VCUDA_IOC_MEMORY_CREATE		_IOWR('V', 0x02, struct vcuda_memory)
#define VCUDA_IOC_MEMORY_REGISTER	_IOW('V', 0x03, struct vcuda_register)
/* The memory's id. Pages that are still mapped live until they are unmapped. */
#define VCUDA_IOC_MEMORY_DESTROY	_IOW('V', 0x04, __u64)
/* Returns when the pages are with the device. */
#define VCUDA_IOC_TRANSFER_SUBMIT	_IOW('V', 0x05, struct vcuda_transfer)
/* The transfer's id. Returns when the device has given all its pages back. */
#define VCUDA_IOC_TRANSFER_WAIT		_IOW('V', 0x06, __u64)
#define VCUDA_IOC_KICK			_IO('V', 0x07)
/* 0: woken, or the word is another; ETIMEDOUT. */
#define VCUDA_IOC_WAIT			_IOW('V', 0x08, struct vcuda_wait)
#define VCUDA_IOC_STATISTICS		_IOR('V', 0x09, struct vcuda_statistics)

#endif
