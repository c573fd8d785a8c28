// SPDX-License-Identifier: GPL-2.0
/*
 * Transfers: pages of the program that the device reads or writes in place, once.
 *
 * The pages are pinned and described by a scatterlist, which is cut into chains of as many
 * segments as the ring allows, given to the transfer queues in turn. Each chain refers to the
 * transfer, so that the pages are unpinned when the device has returned the last chain and nobody
 * waits any more: by the program that waits for it, or by a work item.
 */
#include <linux/build_bug.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vcuda.h"

static_assert(VCUDA_TO_DEVICE == VIRTIO_VCUDA_TO_DEVICE);
static_assert(VCUDA_FROM_DEVICE == VIRTIO_VCUDA_FROM_DEVICE);

/**
 * struct vcuda_xfer - pages on their way
 * @ref: the table's, the device's (as long as @pending is not 0), and those of waiters
 * @work: unpins the pages if the last reference is dropped where that is not possible
 * @session: whose it is
 * @id: the client's name for it
 * @len: bytes
 * @direction: VCUDA_TO_DEVICE or VCUDA_FROM_DEVICE
 * @count: of @pages
 * @pages: pinned; NULL once they have been unpinned
 * @sgt: the same, cut into chains
 * @unadded: chains that are in no ring yet
 * @added: there are none
 * @pending: chains that the device has not returned
 * @done: there are none
 * @error: the first that a chain ended with
 */
struct vcuda_xfer {
	struct kref ref;
	struct work_struct work;
	struct vcuda_session *session;
	u64 id;
	u64 len;
	u32 direction;
	unsigned long count;
	struct page **pages;
	struct sg_table sgt;
	atomic_t unadded;
	struct completion added;
	atomic_t pending;
	struct completion done;
	int error;
};

/* The device has no chain of the transfer. May sleep. */
static void vcuda_transfer_unpin(struct vcuda_xfer *transfer)
{
	struct vcuda_session *session = transfer->session;

	sg_free_table(&transfer->sgt);
	vcuda_pages_unpin(session->vd, transfer->pages, transfer->count,
			  transfer->direction == VCUDA_FROM_DEVICE);
	transfer->pages = NULL;
	vcuda_session_uncharge(session, (u64)transfer->count << PAGE_SHIFT);
	vcuda_session_put(session);
}

static void vcuda_transfer_work(struct work_struct *work)
{
	struct vcuda_xfer *transfer = container_of(work, struct vcuda_xfer, work);

	vcuda_transfer_unpin(transfer);
	kfree(transfer);
}

static void vcuda_transfer_release(struct kref *ref)
{
	struct vcuda_xfer *transfer = container_of(ref, struct vcuda_xfer, ref);

	if (transfer->pages)
		queue_work(vcuda_wq, &transfer->work);
	else
		kfree(transfer);
}

/* In any context. */
static void vcuda_transfer_put(struct vcuda_xfer *transfer)
{
	kref_put(&transfer->ref, vcuda_transfer_release);
}

static void vcuda_chain_added(struct vcuda_request *req)
{
	struct vcuda_xfer *transfer = req->owner;

	if (atomic_dec_and_test(&transfer->unadded))
		complete_all(&transfer->added);
}

static void vcuda_chain_done(struct vcuda_request *req)
{
	struct vcuda_xfer *transfer = req->owner;

	if (req->result)
		cmpxchg(&transfer->error, 0, req->result);
	if (atomic_dec_and_test(&transfer->pending)) {
		complete_all(&transfer->done);
		vcuda_transfer_put(transfer);
	}
}

/* Pins the pages. Return: a transfer with one reference, or an ERR_PTR(). */
static struct vcuda_xfer *vcuda_transfer_new(struct vcuda_session *session,
					     const struct vcuda_transfer *args)
{
	unsigned int offset = offset_in_page(args->address);
	struct vcuda_xfer *transfer;
	u64 charge;
	int ret;

	transfer = kzalloc(sizeof(*transfer), GFP_KERNEL_ACCOUNT);
	if (!transfer)
		return ERR_PTR(-ENOMEM);
	kref_init(&transfer->ref);
	INIT_WORK(&transfer->work, vcuda_transfer_work);
	init_completion(&transfer->added);
	init_completion(&transfer->done);
	transfer->id = args->id;
	transfer->len = args->len;
	transfer->direction = args->direction;
	transfer->count = DIV_ROUND_UP(offset + args->len, PAGE_SIZE);

	charge = (u64)transfer->count << PAGE_SHIFT;
	ret = vcuda_session_charge(session, charge);
	if (ret)
		goto err_free;
	transfer->pages = vcuda_pages_pin(session->vd, args->address - offset, transfer->count,
					  args->direction == VCUDA_FROM_DEVICE ? FOLL_WRITE : 0);
	if (IS_ERR(transfer->pages)) {
		ret = PTR_ERR(transfer->pages);
		goto err_uncharge;
	}
	ret = sg_alloc_table_from_pages(&transfer->sgt, transfer->pages, transfer->count, offset,
					args->len, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_unpin;
	transfer->session = session;
	kref_get(&session->ref);
	return transfer;

err_unpin:
	vcuda_pages_unpin(session->vd, transfer->pages, transfer->count, false);
err_uncharge:
	vcuda_session_uncharge(session, charge);
err_free:
	kfree(transfer);
	return ERR_PTR(ret);
}

static void vcuda_chains_free(struct list_head *chains)
{
	struct vcuda_request *req, *next;

	list_for_each_entry_safe(req, next, chains, node)
		vcuda_request_put(req);
}

/* Cuts the scatterlist into chains. */
static int vcuda_transfer_cut(struct vcuda_xfer *transfer, struct list_head *chains)
{
	struct vcuda_session *session = transfer->session;
	struct scatterlist *sg = transfer->sgt.sgl, *last;
	struct vcuda_request *req;
	unsigned int segments;
	int count = 0;
	u64 offset = 0;

	while (sg) {
		req = vcuda_request_new(VIRTIO_VCUDA_OP_TRANSFER, session);
		if (!req) {
			vcuda_chains_free(chains);
			return -ENOMEM;
		}
		req->owner = transfer;
		req->on_added = vcuda_chain_added;
		req->on_done = vcuda_chain_done;
		req->header.kind = cpu_to_le32(transfer->direction);
		req->header.id = cpu_to_le64(transfer->id);
		req->header.offset = cpu_to_le64(offset);
		req->header.len = cpu_to_le64(transfer->len);
		req->data = sg;
		req->data_in = transfer->direction == VCUDA_FROM_DEVICE;
		for (segments = 0; sg && segments < session->vd->max_segments; segments++) {
			req->data_len += sg->length;
			last = sg;
			sg = sg_next(sg);
		}
		/* Freeing the table goes by its counts, not by these marks. */
		sg_mark_end(last);
		offset += req->data_len;
		list_add_tail(&req->node, chains);
		count++;
	}
	atomic_set(&transfer->unadded, count);
	atomic_set(&transfer->pending, count);
	return 0;
}

/*
 * Gives all chains to the device. The chains of one transfer follow each other in each queue, so
 * that two transfers never wait for each other with a part of each in the rings.
 */
static void vcuda_transfer_send(struct vcuda_xfer *transfer, struct list_head *chains)
{
	struct vcuda_device *vd = transfer->session->vd;
	struct vcuda_request *req, *next;
	struct vcuda_queue *queue;

	/* The device's. */
	kref_get(&transfer->ref);
	mutex_lock(&vd->transfer_lock);
	list_for_each_entry_safe(req, next, chains, node) {
		/* Its node will be the queue's. */
		list_del(&req->node);
		queue = &vd->queues[VIRTIO_VCUDA_QUEUE_TRANSFER];
		queue += vd->next_queue++ % (vd->num_queues - VIRTIO_VCUDA_QUEUE_TRANSFER);
		if (vcuda_request_submit(queue, req) < 0) {
			req->result = -ENODEV;
			vcuda_chain_added(req);
			vcuda_chain_done(req);
		}
		vcuda_request_put(req);
	}
	mutex_unlock(&vd->transfer_lock);
}

/* Takes the transfer out of the table; whoever does so first unpins its pages. */
static void vcuda_transfer_finish(struct vcuda_xfer *transfer)
{
	struct vcuda_session *session = transfer->session;

	if (xa_cmpxchg(&session->transfers, transfer->id, transfer, NULL, 0) != transfer)
		return;
	if (completion_done(&transfer->done))
		vcuda_transfer_unpin(transfer);
	vcuda_transfer_put(transfer);
}

/* VCUDA_IOC_TRANSFER_SUBMIT */
int vcuda_transfer_submit(struct vcuda_session *session, void __user *arg)
{
	struct vcuda_xfer *transfer;
	struct vcuda_transfer args;
	LIST_HEAD(chains);
	int ret;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	if ((args.direction != VCUDA_TO_DEVICE && args.direction != VCUDA_FROM_DEVICE) ||
	    args.flags || args.id > ULONG_MAX || !args.len ||
	    args.len > session->vd->max_transfer || args.address + args.len < args.address ||
	    args.address + args.len > ULONG_MAX - PAGE_SIZE)
		return -EINVAL;

	transfer = vcuda_transfer_new(session, &args);
	if (IS_ERR(transfer))
		return PTR_ERR(transfer);
	ret = vcuda_transfer_cut(transfer, &chains);
	if (ret)
		goto err_unpin;
	/* One reference for the table, one for this function. */
	kref_get(&transfer->ref);
	ret = xa_insert(&session->transfers, args.id, transfer, GFP_KERNEL);
	if (ret) {
		ret = ret == -EBUSY ? -EEXIST : ret;
		vcuda_chains_free(&chains);
		vcuda_transfer_put(transfer);
		goto err_unpin;
	}
	vcuda_transfer_send(transfer, &chains);
	if (wait_for_completion_killable(&transfer->added))
		ret = -EINTR;
	else if (READ_ONCE(transfer->error) == -ENODEV && completion_done(&transfer->done))
		ret = -ENODEV;
	else
		atomic64_add(args.len, &session->vd->bytes_transferred);
	if (ret == -ENODEV)
		vcuda_transfer_finish(transfer);
	vcuda_transfer_put(transfer);
	return ret;

err_unpin:
	vcuda_transfer_unpin(transfer);
	vcuda_transfer_put(transfer);
	return ret;
}

/* VCUDA_IOC_TRANSFER_WAIT */
int vcuda_transfer_wait(struct vcuda_session *session, void __user *arg)
{
	struct vcuda_xfer *transfer;
	int ret;
	u64 id;

	if (copy_from_user(&id, arg, sizeof(id)))
		return -EFAULT;
	if (id > ULONG_MAX)
		return -ENOENT;
	xa_lock(&session->transfers);
	transfer = xa_load(&session->transfers, id);
	if (transfer)
		kref_get(&transfer->ref);
	xa_unlock(&session->transfers);
	if (!transfer)
		return -ENOENT;
	if (wait_for_completion_killable(&transfer->done)) {
		ret = -EINTR;
	} else {
		ret = transfer->error;
		vcuda_transfer_finish(transfer);
	}
	vcuda_transfer_put(transfer);
	return ret;
}

/* The session is closed. What the device has not returned is unpinned when it has. */
void vcuda_transfers_free(struct vcuda_session *session)
{
	struct vcuda_xfer *transfer;
	unsigned long id;

	xa_for_each(&session->transfers, id, transfer)
		vcuda_transfer_finish(transfer);
}
