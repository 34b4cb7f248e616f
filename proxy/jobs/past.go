package jobs

import "sync"

// past remembers what documents hold that do not change any more, so that a
// list does not read them each time. The ETag of a document tells whether it is
// the same one.
type past[T any] struct {
	mu    sync.Mutex
	kept  map[string]pastDocument[T] // by the name of the document
	bytes int
}

type pastDocument[T any] struct {
	etag  string
	value T
	bytes int // of the document
}

const pastBytes = 32 << 20 // of documents

// find returns what a document with an ETag holds.
func (p *past[T]) find(name, etag string) (value T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.kept[name]
	if !ok || d.etag != etag {
		return value, false
	}
	return d.value, true
}

// keep remembers what a document of so many bytes holds, if there is room.
func (p *past[T]) keep(name, etag string, bytes int, value T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bytes+bytes > pastBytes {
		return
	}
	if p.kept == nil {
		p.kept = map[string]pastDocument[T]{}
	}
	p.bytes += bytes - p.kept[name].bytes
	p.kept[name] = pastDocument[T]{etag, value, bytes}
}

// forgetExcept forgets the documents that are not in found.
func (p *past[T]) forgetExcept(found map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, d := range p.kept {
		if _, ok := found[name]; !ok {
			delete(p.kept, name)
			p.bytes -= d.bytes
		}
	}
}
