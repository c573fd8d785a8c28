// SPDX-License-Identifier: GPL-2.0
/*
 * Pages: those of a process, pinned, and the driver's own.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "vcuda.h"

/* Pages pinned at a time; between two such steps a killed task gives up. */
#define VCUDA_PIN_STEP		1024UL

/**
 * vcuda_pages_pin() - pin pages of the calling process
 * @vd: the device, which counts them
 * @address: of the first page
 * @count: how many
 * @gup_flags: FOLL_WRITE, FOLL_LONGTERM
 *
 * Return: the pages, to be given to vcuda_pages_unpin(), or an ERR_PTR(): -EFAULT if not all of
 * them are there, or may not be written.
 */
struct page **vcuda_pages_pin(struct vcuda_device *vd, u64 address, unsigned long count,
			      unsigned int gup_flags)
{
	struct page **pages;
	unsigned long done = 0;
	int ret;

	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return ERR_PTR(-ENOMEM);
	while (done < count) {
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			goto err;
		}
		ret = pin_user_pages_fast(address + (done << PAGE_SHIFT),
					  min(count - done, VCUDA_PIN_STEP), gup_flags,
					  pages + done);
		if (ret <= 0) {
			ret = ret ?: -EFAULT;
			goto err;
		}
		done += ret;
		cond_resched();
	}
	atomic64_add(count, &vd->pages_pinned);
	return pages;

err:
	unpin_user_pages(pages, done);
	kvfree(pages);
	return ERR_PTR(ret);
}

/**
 * vcuda_pages_unpin() - the end of vcuda_pages_pin()
 * @vd: the device
 * @pages: what was pinned
 * @count: how many
 * @dirty: the device may have written them
 *
 * May sleep.
 */
void vcuda_pages_unpin(struct vcuda_device *vd, struct page **pages, unsigned long count,
		       bool dirty)
{
	unpin_user_pages_dirty_lock(pages, count, dirty);
	atomic64_sub(count, &vd->pages_pinned);
	kvfree(pages);
}

/**
 * vcuda_pages_alloc() - zeroed pages that can be mapped into a process
 * @count: how many
 *
 * They come in runs as long as can be had without reclaim, as the device maps run by run, but are
 * pages of their own (not compound), which is what vm_insert_pages() wants.
 *
 * Return: the pages, or an ERR_PTR().
 */
struct page **vcuda_pages_alloc(unsigned long count)
{
	unsigned int order = get_order(SZ_4M);
	unsigned long done = 0, i;
	struct page **pages;
	struct page *run;
	gfp_t gfp;

	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return ERR_PTR(-ENOMEM);
	while (done < count) {
		if (fatal_signal_pending(current)) {
			vcuda_pages_free(pages, done);
			return ERR_PTR(-EINTR);
		}
		order = min_t(unsigned int, order, ilog2(count - done));
		gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN;
		if (order)
			gfp = (gfp | __GFP_NORETRY) & ~__GFP_DIRECT_RECLAIM;
		else /* Whoever asks for too much gets an error; nobody is killed for it. */
			gfp |= __GFP_RETRY_MAYFAIL;
		run = alloc_pages(gfp, order);
		if (!run) {
			if (!order) {
				vcuda_pages_free(pages, done);
				return ERR_PTR(-ENOMEM);
			}
			order--;
			continue;
		}
		split_page(run, order);
		for (i = 0; i < 1UL << order; i++)
			pages[done++] = run + i;
		cond_resched();
	}
	return pages;
}

/* Drops the driver's references; what others refer to stays until they drop theirs. */
void vcuda_pages_free(struct page **pages, unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++)
		put_page(pages[i]);
	kvfree(pages);
}
