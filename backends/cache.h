/* cache.h: compiled kernels on disk, in $XDG_CACHE_HOME/cdunet, else ~/.cache/cdunet; CDUNET_CACHE names another folder or, as
 * "off", switches it off, as does CDUNET_DEBUG=no-cache. An entry carries its key and a checksum; a damaged one is as good as
 * none. A cache never fails a run: a folder that cannot be written gives one warning. Nothing is ever removed from it. Threads:
 * all functions may be called from any thread, and from several processes. */
#ifndef CDU_BACKENDS_CACHE_H
#define CDU_BACKENDS_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { uint64_t low, high; } cdu_cache_key;

/* The key of something made from these texts (source, options, device, driver, ...). */
cdu_cache_key cdu_cache_key_of(const char *const *parts, size_t count);

/* The entry's bytes, to be freed with free(); false where there is no sound entry. `kind` is the entry's file name in front of the
 * key. */
bool cdu_cache_load(const char *kind, cdu_cache_key key, void **bytes, size_t *size);
void cdu_cache_store(const char *kind, cdu_cache_key key, const void *bytes, size_t size);

/* Waits until no other process has the key's lock, and takes it, for work that one process should do for all; -1 where there is no cache.
 * Not for two threads of one process and the same key at once. */
int cdu_cache_lock(cdu_cache_key key);
void cdu_cache_unlock(int lock);

/* Loads that found an entry, since the program began. For tests and for logs. */
uint64_t cdu_cache_hits(void);

#endif
