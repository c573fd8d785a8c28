// SPDX-License-Identifier: GPL-2.0
/*
 * Requests: making them, giving them to the device, and what happens when it returns them.
 *
 * A request for which the ring has no room waits in the queue's backlog, from where the queue's
 * callback adds it: nobody waits for room, so that requests can be made in any context. Whoever
 * wants an answer waits, killably, for the request to be done; a waiter that is killed leaves the
 * request to the queue.
 */
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "vcuda.h"

/**
 * vcuda_request_new() - make a request
 * @op: what is asked
 * @session: of which session, or NULL
 *
 * Return: a request with one reference, or NULL. May sleep.
 */
struct vcuda_request *vcuda_request_new(enum virtio_vcuda_op op, struct vcuda_session *session)
{
	struct vcuda_request *req = kzalloc(sizeof(*req), GFP_KERNEL_ACCOUNT);

	if (!req)
		return NULL;
	kref_init(&req->ref);
	init_completion(&req->done);
	req->header.op = cpu_to_le32(op);
	req->header.thread = cpu_to_le32(task_pid_nr(current));
	if (session)
		req->header.session = cpu_to_le32(session->id);
	/* A device that claims to have answered, but has not, shall not be believed. */
	req->response.status = cpu_to_le32(U32_MAX);
	return req;
}

static void vcuda_request_release(struct kref *ref)
{
	struct vcuda_request *req = container_of(ref, struct vcuda_request, ref);

	kfree(req->payload);
	kfree(req->answer);
	kfree(req);
}

/* In any context. */
void vcuda_request_put(struct vcuda_request *req)
{
	kref_put(&req->ref, vcuda_request_release);
}

static int vcuda_status_to_errno(u32 status)
{
	switch (status) {
	case VIRTIO_VCUDA_S_OK:
		return 0;
	case VIRTIO_VCUDA_S_INVALID:
		return -EINVAL;
	case VIRTIO_VCUDA_S_NO_SESSION:
	case VIRTIO_VCUDA_S_ENDED:
		return -EPIPE;
	case VIRTIO_VCUDA_S_NO_MEMORY:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static void vcuda_request_added(struct vcuda_request *req)
{
	if (req->added)
		return;
	req->added = true;
	if (req->on_added)
		req->on_added(req);
}

/* Drops the queue's reference. */
static void vcuda_request_complete(struct vcuda_request *req, int result)
{
	req->result = result;
	if (req->on_done)
		req->on_done(req);
	complete_all(&req->done);
	vcuda_request_put(req);
}

/* The device has returned the chain and says that it wrote @used bytes. It is not to be trusted. */
static void vcuda_request_returned(struct vcuda_device *vd, struct vcuda_request *req, u32 used)
{
	u64 room = sizeof(req->response) + req->answer_len;
	u32 status;
	int result;

	if (req->data && req->data_in)
		room += req->data_len;
	if (used < sizeof(req->response) || used > room) {
		dev_err_ratelimited(&vd->dev,
				    "the device wrote %u bytes as answer to request %u, which asked for %zu to %llu\n",
				    used, le32_to_cpu(req->header.op), sizeof(req->response), room);
		vcuda_request_complete(req, -EIO);
		return;
	}
	req->written = used - sizeof(req->response);
	status = le32_to_cpu(READ_ONCE(req->response.status));
	result = vcuda_status_to_errno(status);
	if (result == -EIO && status != VIRTIO_VCUDA_S_FAILED)
		dev_err_ratelimited(&vd->dev, "the device answered request %u with status %#x, which there is not\n",
				    le32_to_cpu(req->header.op), status);
	/* Not an answer to a request of no session, which names session 0. */
	if (result == -EPIPE && le32_to_cpu(req->header.op) > VIRTIO_VCUDA_OP_SESSION_OPEN)
		vcuda_session_event(vd, le32_to_cpu(req->header.session), VIRTIO_VCUDA_EVENT_ENDED);
	vcuda_request_complete(req, result);
}

static int vcuda_request_add(struct virtqueue *vq, struct vcuda_request *req)
{
	struct scatterlist header, payload, response, answer;
	struct scatterlist *sgs[5];
	unsigned int out = 0, in = 0;

	sg_init_one(&header, &req->header, sizeof(req->header));
	sgs[out++] = &header;
	if (req->payload) {
		sg_init_one(&payload, req->payload, req->payload_len);
		sgs[out++] = &payload;
	}
	if (req->data && !req->data_in)
		sgs[out++] = req->data;
	sg_init_one(&response, &req->response, sizeof(req->response));
	sgs[out + in++] = &response;
	if (req->answer) {
		sg_init_one(&answer, req->answer, req->answer_len);
		sgs[out + in++] = &answer;
	}
	if (req->data && req->data_in)
		sgs[out + in++] = req->data;
	return virtqueue_add_sgs(vq, sgs, out, in, req, GFP_ATOMIC);
}

/*
 * Moves what there is room for from the backlog to the ring, under the queue's lock.
 * Return: whether the device is to be notified.
 */
static bool vcuda_queue_flush(struct vcuda_queue *queue)
{
	struct vcuda_request *req, *next;
	bool any = false;
	int ret;

	list_for_each_entry_safe(req, next, &queue->backlog, node) {
		ret = vcuda_request_add(queue->vq, req);
		if (ret == -ENOSPC || ret == -ENOMEM) {
			/*
			 * A chain never needs more than an empty ring, so that the return of those
			 * in it will make room. But if there is room for an indirect chain, then a
			 * table for one could not be had, and nobody will tell when it can.
			 */
			if (queue->vq->num_free &&
			    virtio_has_feature(queue->vq->vdev, VIRTIO_RING_F_INDIRECT_DESC))
				queue_delayed_work(vcuda_wq, &queue->retry, 1);
			break;
		}
		if (ret) {
			/* Broken: all that is here fails when the device is stopped. */
			vcuda_device_fail(queue->vd);
			break;
		}
		list_del(&req->node);
		vcuda_request_added(req);
		any = true;
	}
	return any && virtqueue_kick_prepare(queue->vq);
}

/*
 * Notifying is done without the queue's lock, as it may be slow. The virtqueue stays because
 * stopping the device waits for a grace period before it is deleted.
 */
static void vcuda_queue_notify(struct vcuda_queue *queue, struct virtqueue *vq)
{
	if (!virtqueue_notify(vq))
		vcuda_device_fail(queue->vd);
}

static void vcuda_queue_retry(struct work_struct *work)
{
	struct vcuda_queue *queue = container_of(work, struct vcuda_queue, retry.work);
	struct virtqueue *vq;
	bool notify = false;

	rcu_read_lock();
	spin_lock_irq(&queue->lock);
	vq = queue->vq;
	if (vq)
		notify = vcuda_queue_flush(queue);
	spin_unlock_irq(&queue->lock);
	if (notify)
		vcuda_queue_notify(queue, vq);
	rcu_read_unlock();
}

void vcuda_queue_init(struct vcuda_queue *queue, struct vcuda_device *vd)
{
	queue->vd = vd;
	spin_lock_init(&queue->lock);
	INIT_LIST_HEAD(&queue->backlog);
	INIT_DELAYED_WORK(&queue->retry, vcuda_queue_retry);
}

/**
 * vcuda_request_submit() - give a request to the device
 * @queue: by which queue
 * @req: the request, of which the queue takes a reference of its own
 *
 * Requests of one queue reach the device in the order of submission. In any context.
 *
 * Return: 1 if the chain is in the ring, 0 if it is in the backlog, and -ENODEV, with nothing
 * called and no reference taken, if the device is stopped.
 */
int vcuda_request_submit(struct vcuda_queue *queue, struct vcuda_request *req)
{
	struct virtqueue *vq;
	unsigned long flags;
	bool notify;
	int ret;

	rcu_read_lock();
	spin_lock_irqsave(&queue->lock, flags);
	vq = queue->vq;
	if (!vq) {
		spin_unlock_irqrestore(&queue->lock, flags);
		rcu_read_unlock();
		return -ENODEV;
	}
	if (req->header.op != cpu_to_le32(VIRTIO_VCUDA_OP_HELLO))
		atomic64_inc(&queue->vd->requests);
	kref_get(&req->ref);
	list_add_tail(&req->node, &queue->backlog);
	notify = vcuda_queue_flush(queue);
	ret = req->added;
	spin_unlock_irqrestore(&queue->lock, flags);
	if (notify)
		vcuda_queue_notify(queue, vq);
	rcu_read_unlock();
	return ret;
}

/**
 * vcuda_request_wait() - sleep until the device has returned a request
 * @req: a submitted request
 *
 * Return: the request's result, or -EINTR if the task was killed, and then the device may still
 * use the request.
 */
int vcuda_request_wait(struct vcuda_request *req)
{
	if (wait_for_completion_killable(&req->done))
		return -EINTR;
	return req->result;
}

/**
 * vcuda_control() - send a request on the control queue and wait for its answer
 * @vd: the device
 * @req: the request; the caller keeps its reference
 */
int vcuda_control(struct vcuda_device *vd, struct vcuda_request *req)
{
	int ret = vcuda_request_submit(vcuda_control_queue(vd), req);

	if (ret < 0)
		return ret;
	return vcuda_request_wait(req);
}

/* Of the control queue and the transfer queues. */
void vcuda_queue_callback(struct virtqueue *vq)
{
	struct vcuda_device *vd = vq->vdev->priv;
	struct vcuda_queue *queue = &vd->queues[vq->index];
	struct vcuda_request *req, *next;
	LIST_HEAD(returned);
	unsigned long flags;
	bool notify = false;
	unsigned int used;

	rcu_read_lock();
	spin_lock_irqsave(&queue->lock, flags);
	if (queue->vq) {
		do {
			virtqueue_disable_cb(vq);
			while ((req = virtqueue_get_buf(vq, &used))) {
				req->written = used;
				list_add_tail(&req->node, &returned);
			}
		} while (!virtqueue_enable_cb(vq));
		if (virtqueue_is_broken(vq))
			vcuda_device_fail(vd);
		else
			notify = vcuda_queue_flush(queue);
	}
	spin_unlock_irqrestore(&queue->lock, flags);

	if (notify)
		vcuda_queue_notify(queue, vq);
	rcu_read_unlock();

	list_for_each_entry_safe(req, next, &returned, node)
		vcuda_request_returned(vd, req, req->written);
}

/**
 * vcuda_queue_drain() - take back all that a stopped queue holds
 * @queue: the queue, whose @vq is NULL by now
 * @vq: its virtqueue, of a device that has been reset
 * @drained: where the requests go
 */
void vcuda_queue_drain(struct vcuda_queue *queue, struct virtqueue *vq, struct list_head *drained)
{
	struct vcuda_request *req;

	list_splice_tail_init(&queue->backlog, drained);
	while ((req = virtqueue_detach_unused_buf(vq)))
		list_add_tail(&req->node, drained);
}

/* Ends what vcuda_queue_drain() has collected. */
void vcuda_requests_fail(struct list_head *drained)
{
	struct vcuda_request *req, *next;

	list_for_each_entry_safe(req, next, drained, node) {
		vcuda_request_added(req);
		vcuda_request_complete(req, -ENODEV);
	}
}
