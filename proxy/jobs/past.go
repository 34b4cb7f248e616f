package jobs

import (
	"sync"

	"ssegw/proxy/state"
)

// past remembers jobs that have ended, so that a list of jobs does not read
// them each time. They do not change, and the ETag of a document tells whether
// it is the same one.
type past struct {
	mu    sync.Mutex
	jobs  map[string]pastJob // by the name of the document
	bytes int
}

type pastJob struct {
	etag  string
	job   *Job
	bytes int // of the document
}

const pastBytes = 32 << 20 // of documents

// find returns a copy of a job whose document has an ETag, or nil.
func (p *past) find(name, etag string) *Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept, ok := p.jobs[name]
	if !ok || kept.etag != etag {
		return nil
	}
	j := *kept.job
	return &j
}

// keep remembers the job of a document, if it has ended and there is room.
func (p *past) keep(d *state.Document, j *Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !j.Status.Ended() || p.bytes+len(d.Plain) > pastBytes {
		return
	}
	if p.jobs == nil {
		p.jobs = map[string]pastJob{}
	}
	kept := *j
	p.bytes += len(d.Plain) - p.jobs[d.Name].bytes
	p.jobs[d.Name] = pastJob{d.ETag, &kept, len(d.Plain)}
}

// forgetExcept forgets the jobs whose documents are not in found.
func (p *past) forgetExcept(found map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, kept := range p.jobs {
		if _, ok := found[name]; !ok {
			delete(p.jobs, name)
			p.bytes -= kept.bytes
		}
	}
}
