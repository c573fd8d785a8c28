// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that stays known to the device: pages that the driver makes and the program maps, and
 * pages of the program that it registers.
 *
 * The life of a memory: its pages are made or pinned, and MEMORY_ADD tells the device about them.
 * From then on the device may use them until it has answered MEMORY_REMOVE or SESSION_CLOSE, or is
 * stopped. Pages that are mapped live until they are unmapped.
 */
#include <linux/build_bug.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "vcuda.h"

static_assert(VCUDA_MEMORY_CONTROL == VIRTIO_VCUDA_MEMORY_CONTROL);
static_assert(VCUDA_MEMORY_WINDOW == VIRTIO_VCUDA_MEMORY_WINDOW);

/* May sleep; a memory of the driver may be dropped with mmap_lock held. */
static void vcuda_memory_release(struct kref *ref)
{
	struct vcuda_mem *memory = container_of(ref, struct vcuda_mem, ref);
	struct vcuda_session *session = memory->session;

	if (memory->kind == VIRTIO_VCUDA_MEMORY_USER) {
		vcuda_pages_unpin(session->vd, memory->pages, memory->count, true);
		account_locked_vm(session->mm, memory->count, false);
	} else {
		vcuda_pages_free(memory->pages, memory->count);
	}
	vcuda_session_uncharge(session, memory->len);
	vcuda_session_put(session);
	kfree(memory);
}

void vcuda_memory_put(struct vcuda_mem *memory)
{
	kref_put(&memory->ref, vcuda_memory_release);
}

/*
 * A memory of pages that the session has been charged for.
 * Return: it with one reference, or NULL, and then the pages are still the caller's.
 */
static struct vcuda_mem *vcuda_memory_new(struct vcuda_session *session, u32 kind, u64 id,
					  u64 address, u64 len, struct page **pages)
{
	struct vcuda_mem *memory = kzalloc(sizeof(*memory), GFP_KERNEL_ACCOUNT);

	if (!memory)
		return NULL;
	kref_init(&memory->ref);
	kref_get(&session->ref);
	memory->session = session;
	memory->kind = kind;
	memory->id = id;
	memory->address = address;
	memory->len = len;
	memory->count = len >> PAGE_SHIFT;
	memory->pages = pages;
	return memory;
}

/* Enters the memory into the session's tables. */
static int vcuda_memory_insert(struct vcuda_mem *memory)
{
	struct vcuda_session *session = memory->session;
	int ret = 0;

	if (memory->kind == VIRTIO_VCUDA_MEMORY_CONTROL) {
		spin_lock_irq(&session->lock);
		if (session->control)
			ret = -EEXIST;
		else
			session->control = memory;
		spin_unlock_irq(&session->lock);
		if (ret)
			return ret;
	}
	ret = xa_insert(&session->memories, memory->id, memory, GFP_KERNEL);
	if (ret) {
		ret = ret == -EBUSY ? -EEXIST : ret;
		goto err_control;
	}
	if (memory->kind != VIRTIO_VCUDA_MEMORY_USER) {
		ret = xa_alloc(&session->maps, &memory->map, memory, xa_limit_31b, GFP_KERNEL);
		if (ret)
			goto err_erase;
	}
	return 0;

err_erase:
	xa_erase(&session->memories, memory->id);
err_control:
	spin_lock_irq(&session->lock);
	if (session->control == memory)
		session->control = NULL;
	spin_unlock_irq(&session->lock);
	return ret;
}

/* The end of vcuda_memory_insert(). Drops the tables' reference. */
static void vcuda_memory_drop(struct vcuda_mem *memory)
{
	struct vcuda_session *session = memory->session;

	spin_lock_irq(&session->lock);
	if (session->control == memory)
		session->control = NULL;
	spin_unlock_irq(&session->lock);
	if (memory->kind != VIRTIO_VCUDA_MEMORY_USER)
		xa_erase(&session->maps, memory->map);
	xa_erase(&session->memories, memory->id);
	vcuda_memory_put(memory);
}

static void vcuda_memory_set_state(struct vcuda_mem *memory, enum vcuda_memory_state state)
{
	xa_lock(&memory->session->memories);
	memory->state = state;
	xa_unlock(&memory->session->memories);
}

static void vcuda_memory_describe(struct vcuda_mem *memory, struct vcuda_request *req)
{
	req->header.kind = cpu_to_le32(memory->kind);
	req->header.id = cpu_to_le64(memory->id);
	req->header.address = cpu_to_le64(memory->address);
	req->header.len = cpu_to_le64(memory->len);
}

/*
 * Describes pages from @page on as runs.
 * Return: the number of segments; @next is the first page that did not fit.
 */
static unsigned int vcuda_memory_segments(struct vcuda_mem *memory, unsigned long page,
					  struct virtio_vcuda_segment *segments, unsigned int max,
					  unsigned long *next)
{
	unsigned int used = 0;
	unsigned long end;

	while (page < memory->count && used < max) {
		end = page + 1;
		while (end < memory->count && page_to_pfn(memory->pages[end]) ==
					      page_to_pfn(memory->pages[end - 1]) + 1)
			end++;
		segments[used].address = cpu_to_le64(page_to_phys(memory->pages[page]));
		segments[used].len = cpu_to_le64((u64)(end - page) << PAGE_SHIFT);
		used++;
		page = end;
	}
	*next = page;
	return used;
}

/* Return: 0, or the error, after which the device may have the pages unless it is -ENODEV. */
static int vcuda_memory_add(struct vcuda_mem *memory)
{
	struct vcuda_request *req;
	unsigned long page = 0;
	unsigned int max, used;
	int ret = 0;

	while (page < memory->count && !ret) {
		max = min_t(unsigned long, memory->count - page, VIRTIO_VCUDA_MAX_SEGMENTS);
		req = vcuda_request_new(VIRTIO_VCUDA_OP_MEMORY_ADD, memory->session);
		if (!req)
			return -ENOMEM;
		vcuda_memory_describe(memory, req);
		req->payload = kcalloc(max, sizeof(struct virtio_vcuda_segment),
				       GFP_KERNEL_ACCOUNT);
		if (!req->payload) {
			vcuda_request_put(req);
			return -ENOMEM;
		}
		req->header.offset = cpu_to_le64((u64)page << PAGE_SHIFT);
		used = vcuda_memory_segments(memory, page, req->payload, max, &page);
		req->payload_len = used * sizeof(struct virtio_vcuda_segment);
		ret = vcuda_control(memory->session->vd, req);
		vcuda_request_put(req);
	}
	return ret;
}

/*
 * Takes the memory, whose state is REMOVING, back from the device by @req, and drops it if the
 * device has let go of it. If not, it stays until the session is closed.
 */
static int vcuda_memory_remove(struct vcuda_mem *memory, struct vcuda_request *req)
{
	int ret;

	vcuda_memory_describe(memory, req);
	ret = vcuda_control(memory->session->vd, req);
	/* An answer that makes no sense is none. */
	if (ret != -EINTR && ret != -EIO)
		vcuda_memory_drop(memory);
	return ret;
}

/* Makes a new memory known to the device. Takes the reference, in any case. */
static int vcuda_memory_publish(struct vcuda_mem *memory)
{
	struct vcuda_request *req;
	int ret;

	ret = vcuda_memory_insert(memory);
	if (ret) {
		vcuda_memory_put(memory);
		return ret;
	}
	ret = vcuda_memory_add(memory);
	if (!ret) {
		vcuda_memory_set_state(memory, VCUDA_MEMORY_LIVE);
	} else if (ret == -ENODEV) {
		vcuda_memory_drop(memory);
	} else if (ret != -EINTR) {
		req = vcuda_request_new(VIRTIO_VCUDA_OP_MEMORY_REMOVE, memory->session);
		if (req) {
			vcuda_memory_remove(memory, req);
			vcuda_request_put(req);
		}
	}
	return ret;
}

static int vcuda_memory_destroy_id(struct vcuda_session *session, u64 id)
{
	struct vcuda_request *req;
	struct vcuda_mem *memory;
	int ret = 0;

	if (id > ULONG_MAX)
		return -ENOENT;
	req = vcuda_request_new(VIRTIO_VCUDA_OP_MEMORY_REMOVE, session);
	if (!req)
		return -ENOMEM;
	xa_lock(&session->memories);
	memory = xa_load(&session->memories, id);
	if (!memory)
		ret = -ENOENT;
	else if (memory->state != VCUDA_MEMORY_LIVE)
		ret = -EBUSY;
	else
		memory->state = VCUDA_MEMORY_REMOVING;
	xa_unlock(&session->memories);
	if (!ret)
		ret = vcuda_memory_remove(memory, req);
	vcuda_request_put(req);
	return ret;
}

static bool vcuda_is_page_range(u64 address, u64 len)
{
	return len && IS_ALIGNED(address, PAGE_SIZE) && IS_ALIGNED(len, PAGE_SIZE) &&
	       address + len > address;
}

/* VCUDA_IOC_MEMORY_CREATE */
int vcuda_memory_create(struct vcuda_session *session, void __user *arg)
{
	struct vcuda_mem *memory;
	struct vcuda_memory args;
	struct page **pages;
	int ret;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	if ((args.kind != VCUDA_MEMORY_CONTROL && args.kind != VCUDA_MEMORY_WINDOW) ||
	    args.flags || args.map_offset || args.reserved || args.id > ULONG_MAX ||
	    !vcuda_is_page_range(args.address, args.len) ||
	    (args.kind == VCUDA_MEMORY_CONTROL && args.address))
		return -EINVAL;

	ret = vcuda_session_charge(session, args.len);
	if (ret)
		return ret;
	pages = vcuda_pages_alloc(args.len >> PAGE_SHIFT);
	if (IS_ERR(pages)) {
		ret = PTR_ERR(pages);
		goto err_uncharge;
	}
	memory = vcuda_memory_new(session, args.kind, args.id, args.address, args.len, pages);
	if (!memory) {
		vcuda_pages_free(pages, args.len >> PAGE_SHIFT);
		ret = -ENOMEM;
		goto err_uncharge;
	}
	/* Another thread may destroy it as soon as it is published. */
	kref_get(&memory->ref);
	ret = vcuda_memory_publish(memory);
	args.map_offset = (u64)memory->map << PAGE_SHIFT;
	vcuda_memory_put(memory);
	if (ret)
		return ret;
	if (copy_to_user(arg, &args, sizeof(args))) {
		vcuda_memory_destroy_id(session, args.id);
		return -EFAULT;
	}
	return 0;

err_uncharge:
	vcuda_session_uncharge(session, args.len);
	return ret;
}

/* VCUDA_IOC_MEMORY_REGISTER */
int vcuda_memory_register(struct vcuda_session *session, void __user *arg)
{
	struct vcuda_mem *memory;
	struct vcuda_register args;
	unsigned long count;
	struct page **pages;
	int ret;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	if (args.flags || args.reserved || args.id > ULONG_MAX ||
	    !vcuda_is_page_range(args.address, args.len) || args.address + args.len > ULONG_MAX)
		return -EINVAL;

	count = args.len >> PAGE_SHIFT;
	ret = vcuda_session_charge(session, args.len);
	if (ret)
		return ret;
	ret = account_locked_vm(session->mm, count, true);
	if (ret)
		goto err_uncharge;
	pages = vcuda_pages_pin(session->vd, args.address, count, FOLL_WRITE | FOLL_LONGTERM);
	if (IS_ERR(pages)) {
		ret = PTR_ERR(pages);
		goto err_unaccount;
	}
	memory = vcuda_memory_new(session, VIRTIO_VCUDA_MEMORY_USER, args.id, args.address,
				  args.len, pages);
	if (!memory) {
		vcuda_pages_unpin(session->vd, pages, count, false);
		ret = -ENOMEM;
		goto err_unaccount;
	}
	return vcuda_memory_publish(memory);

err_unaccount:
	account_locked_vm(session->mm, count, false);
err_uncharge:
	vcuda_session_uncharge(session, args.len);
	return ret;
}

/* VCUDA_IOC_MEMORY_DESTROY */
int vcuda_memory_destroy(struct vcuda_session *session, void __user *arg)
{
	u64 id;

	if (copy_from_user(&id, arg, sizeof(id)))
		return -EFAULT;
	return vcuda_memory_destroy_id(session, id);
}

/* Return: the control memory, with a reference, or NULL. */
struct vcuda_mem *vcuda_memory_control(struct vcuda_session *session)
{
	struct vcuda_mem *memory;

	spin_lock_irq(&session->lock);
	memory = session->control;
	if (memory)
		kref_get(&memory->ref);
	spin_unlock_irq(&session->lock);
	return memory;
}

static void vcuda_vma_open(struct vm_area_struct *vma)
{
	struct vcuda_mem *memory = vma->vm_private_data;

	kref_get(&memory->ref);
}

static void vcuda_vma_close(struct vm_area_struct *vma)
{
	vcuda_memory_put(vma->vm_private_data);
}

static const struct vm_operations_struct vcuda_vm_ops = {
	.open = vcuda_vma_open,
	.close = vcuda_vma_close,
};

static void vcuda_vma_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

/* Maps a memory of the driver, whole; the device takes no part in it. */
int vcuda_memory_mmap(struct vcuda_session *session, struct vm_area_struct *vma)
{
	struct vcuda_mem *memory;
	unsigned long count;
	int ret;

	xa_lock(&session->maps);
	memory = xa_load(&session->maps, vma->vm_pgoff);
	if (memory)
		kref_get(&memory->ref);
	xa_unlock(&session->maps);
	if (!memory)
		return -EINVAL;
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_end - vma->vm_start != memory->len) {
		ret = -EINVAL;
		goto err;
	}
	/* A child of fork() gets none of it. */
	vcuda_vma_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	count = memory->count;
	ret = vm_insert_pages(vma, vma->vm_start, memory->pages, &count);
	if (ret)
		goto err;
	vma->vm_ops = &vcuda_vm_ops;
	vma->vm_private_data = memory;
	return 0;

err:
	vcuda_memory_put(memory);
	return ret;
}

/* The device has let go of all. */
void vcuda_memories_free(struct vcuda_session *session)
{
	struct vcuda_mem *memory;
	unsigned long id;

	xa_for_each(&session->memories, id, memory)
		vcuda_memory_drop(memory);
}
