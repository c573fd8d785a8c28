/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR MIT OR Apache-2.0) */
/*
 * What the vcuda driver and its virtio device say to each other.
 *
 * The device has a control queue, an event queue and one or more transfer queues. Every request is
 * one descriptor chain:
 *
 *	device-readable:	struct virtio_vcuda_request, then what it brings along
 *	device-writable:	struct virtio_vcuda_response, then what it asks for
 *
 * A chain that breaks a rule given here is returned with VIRTIO_VCUDA_S_INVALID where it has room
 * for a response, and with no byte written where it has not.
 *
 * All fields are little-endian.
 */
#ifndef _UAPI_LINUX_VIRTIO_VCUDA_H
#define _UAPI_LINUX_VIRTIO_VCUDA_H

#include <linux/types.h>

/* Not assigned by the virtio specification. Over PCI an ID must be below 64. */
#define VIRTIO_ID_VCUDA			56

#define VIRTIO_VCUDA_MAGIC		0x41445543	/* "CUDA" */
#define VIRTIO_VCUDA_VERSION		1

#define VIRTIO_VCUDA_QUEUE_CONTROL	0
#define VIRTIO_VCUDA_QUEUE_EVENT	1
#define VIRTIO_VCUDA_QUEUE_TRANSFER	2	/* and those that follow */

/* Device configuration space. A stand-in device has one of its own: there HELLO tells the same. */
struct virtio_vcuda_config {
	__le32 magic;
	__le32 version;
	__le32 num_queues;
	__le32 reserved[5];
};

/* Most descriptors of one chain that stand for memory of the guest. */
#define VIRTIO_VCUDA_MAX_SEGMENTS	512
/* Longest greeting and longest answer to it. */
#define VIRTIO_VCUDA_MAX_GREETING	65536

enum virtio_vcuda_op {
	/* Control queue. Asks for: struct virtio_vcuda_config. */
	VIRTIO_VCUDA_OP_HELLO = 1,
	/* Control queue. id: the process. The response names the session. */
	VIRTIO_VCUDA_OP_SESSION_OPEN = 2,
	/*
	 * Control queue. All that the session held is free when this is answered, and the device
	 * touches no memory of it any more.
	 */
	VIRTIO_VCUDA_OP_SESSION_CLOSE = 3,
	/*
	 * Control queue. Brings along the client's greeting, asks for the worker's. value: its
	 * length. The session's control memory must be complete.
	 */
	VIRTIO_VCUDA_OP_START = 4,
	/* Control queue. There are commands in the session's ring, and the worker sleeps. */
	VIRTIO_VCUDA_OP_KICK = 5,
	/*
	 * Control queue. Brings along struct virtio_vcuda_segment[], at most
	 * VIRTIO_VCUDA_MAX_SEGMENTS: pages that make up memory `id` of `len` bytes from `offset`
	 * on. The parts of a memory come in order; it is complete when the last has come. The
	 * device may use the pages until MEMORY_REMOVE is answered.
	 */
	VIRTIO_VCUDA_OP_MEMORY_ADD = 6,
	/* Control queue. */
	VIRTIO_VCUDA_OP_MEMORY_REMOVE = 7,
	/*
	 * Transfer queues. The bytes from `offset` on of transfer `id` of `len` bytes. They are
	 * brought along (TO_DEVICE) or asked for (FROM_DEVICE), and are read and written in place.
	 * The device keeps the chain until the copy command that names the transfer has been
	 * executed, or the session has ended. It may see the command before it sees all chains of
	 * the transfer, which are in the queues by then.
	 */
	VIRTIO_VCUDA_OP_TRANSFER = 8,
};

/* kind of MEMORY_ADD */
#define VIRTIO_VCUDA_MEMORY_CONTROL	1	/* ring and reply slots; one for each session */
#define VIRTIO_VCUDA_MEMORY_WINDOW	2	/* part of the window; address: offset in it */
#define VIRTIO_VCUDA_MEMORY_USER	3	/* pages of the process; address: where it has them */

/* kind of TRANSFER */
#define VIRTIO_VCUDA_TO_DEVICE		1
#define VIRTIO_VCUDA_FROM_DEVICE	2

struct virtio_vcuda_request {
	__le32 op;
	__le32 session;
	__le32 thread;		/* the calling thread, for logs */
	__le32 kind;
	__le64 id;
	__le64 address;
	__le64 offset;
	__le64 len;
};

struct virtio_vcuda_segment {
	__le64 address;		/* guest-physical, a multiple of 4096 */
	__le64 len;		/* a multiple of 4096 */
};

#define VIRTIO_VCUDA_S_OK		0
#define VIRTIO_VCUDA_S_INVALID		1	/* the request breaks a rule */
#define VIRTIO_VCUDA_S_NO_SESSION	2	/* there is no such session */
#define VIRTIO_VCUDA_S_ENDED		3	/* the session's worker has ended */
#define VIRTIO_VCUDA_S_NO_MEMORY	4	/* a limit of the device is reached */
#define VIRTIO_VCUDA_S_FAILED		5	/* the worker could not be started */

struct virtio_vcuda_response {
	__le32 status;
	__le32 session;
	__le64 value;
};

/* Event queue: the driver provides buffers of this size, device-writable. */
#define VIRTIO_VCUDA_EVENT_WAKE		1	/* a word of the control memory has changed */
#define VIRTIO_VCUDA_EVENT_ENDED	2	/* the session's worker has ended */

struct virtio_vcuda_event {
	__le32 kind;
	__le32 session;
};

#endif
