package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/jobs"
	"ssegw/proxy/task"
)

// `mc batch` starts and shows jobs of the kind Rekey, which MinIO calls
// keyrotate.

// batch serves these requests.
type batch struct{ *Server }

const batchType = "keyrotate"

var errNoJob = &apiError{http.StatusNotFound, "XMinioAdminNoSuchJob", "The specified job does not exist."}

// batchResult describes a job as madmin reads it.
type batchResult struct {
	ID      string        `json:"id"`
	Type    string        `json:"type"`
	User    string        `json:"user,omitempty"`
	Started time.Time     `json:"started"`
	Elapsed time.Duration `json:"elapsed,omitempty"` // nanoseconds
}

func (b batch) result(j *jobs.Job) batchResult {
	return batchResult{ID: j.ID, Type: batchType, User: b.AccessKey, Started: j.Created, Elapsed: j.Changed.Sub(j.Created)}
}

// start serves `mc batch start`. It tries the key first, so that a job is
// refused that could change no object.
func (b batch) start(r *http.Request) (any, error) {
	file, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	j, err := parseBatch(file, time.Now().UTC())
	if err != nil {
		return nil, err
	}
	if key := j.Settings.Key; key != "" {
		err := b.KMS.Check(r.Context(), key)
		b.audit(r, KeyUse{Action: "BatchKeyRotate", KESKey: key, Use: "check"}, err)
		if err != nil {
			return nil, err
		}
	}
	j, err = b.Jobs.Create(r.Context(), j)
	if errors.Is(err, jobs.ErrInvalid) || errors.Is(err, jobs.ErrUnconditional) {
		return nil, errFile("%s", err.Error())
	}
	if err != nil {
		return nil, err
	}
	b.Jobs.Begin(j.ID)
	return b.result(j), nil
}

// list serves `mc batch list`: the jobs that have not ended.
func (b batch) list(r *http.Request) (any, error) {
	list := struct {
		Jobs []batchResult `json:"jobs"`
	}{[]batchResult{}}
	if t := r.URL.Query().Get("jobType"); t != "" && t != batchType {
		return list, nil
	}
	all, err := b.Jobs.List(r.Context())
	if err != nil {
		return nil, err
	}
	for _, j := range all {
		if j.Kind == jobs.Rekey && !j.Status.Ended() {
			list.Jobs = append(list.Jobs, b.result(j))
		}
	}
	return list, nil
}

// job returns the job that a parameter of the request names.
func (b batch) job(r *http.Request, parameter string) (*jobs.Job, error) {
	j, err := b.Jobs.Get(r.Context(), r.URL.Query().Get(parameter))
	if errors.Is(err, jobs.ErrNoJob) || err == nil && j.Kind != jobs.Rekey {
		return nil, errNoJob
	}
	return j, err
}

// describe serves `mc batch describe`. `mc batch status` asks it whether
// the job has ended.
func (b batch) describe(r *http.Request) (any, error) {
	j, err := b.job(r, "jobId")
	if err == nil && j.Status.Ended() {
		err = errNoJob // mc then asks for the last status
	}
	if err != nil {
		return nil, err
	}
	file, err := describeBatch(j)
	return text(file), err
}

// cancel serves `mc batch cancel`.
func (b batch) cancel(r *http.Request) (any, error) {
	j, err := b.job(r, "id")
	if err != nil {
		return nil, err
	}
	if err := b.Jobs.Cancel(r.Context(), j.ID); err != nil && !errors.Is(err, jobs.ErrEnded) {
		return nil, err
	}
	return noContent{}, nil
}

// jobMetric is madmin's JobMetric.
type jobMetric struct {
	JobID         string    `json:"jobID"`
	JobType       string    `json:"jobType"`
	StartTime     time.Time `json:"startTime"`
	LastUpdate    time.Time `json:"lastUpdate"`
	RetryAttempts int       `json:"retryAttempts"`
	Complete      bool      `json:"complete"`
	Failed        bool      `json:"failed"`
	KeyRotate     struct {
		Bucket        string `json:"lastBucket"`
		Object        string `json:"lastObject"`
		Objects       int64  `json:"objects"`
		ObjectsFailed int64  `json:"objectsFailed"`
	} `json:"rotation"`
}

// metricOf returns the progress of a job. Only objects that the job has sealed
// again count as objects.
func metricOf(j *jobs.Job) jobMetric {
	m := jobMetric{JobID: j.ID, JobType: batchType, StartTime: j.Created, LastUpdate: j.Changed}
	m.Complete = j.Status == jobs.Finished && j.Incomplete() == 0
	m.Failed = j.Status.Ended() && !m.Complete
	m.KeyRotate.Bucket, m.KeyRotate.Object = j.Bucket, j.Position.Key
	m.KeyRotate.Objects, m.KeyRotate.ObjectsFailed = j.Count(jobs.ResultRekeyed).Objects, j.Incomplete()
	return m
}

// status serves the last status of a job that has ended.
func (b batch) status(r *http.Request) (any, error) {
	j, err := b.job(r, "jobId")
	if err != nil {
		return nil, err
	}
	return struct{ LastMetric jobMetric }{metricOf(j)}, nil
}

// metricsBatchJobs is madmin's bit for the metrics of batch jobs.
const metricsBatchJobs = 1 << 3

// metrics serves the live view of `mc batch status`: a document per
// interval until the client leaves.
func (b batch) metrics(r *http.Request) (any, error) {
	if types, err := strconv.ParseUint(r.URL.Query().Get("types"), 10, 64); err != nil || types != metricsBatchJobs {
		return nil, errNotImplemented
	}
	j, err := b.job(r, "by-jobID")
	if err != nil {
		return nil, err
	}
	interval, err := time.ParseDuration(r.URL.Query().Get("interval"))
	if err != nil || interval < time.Second {
		interval = time.Second
	}
	return stream(func(w http.ResponseWriter) {
		control := http.NewResponseController(w)
		for {
			_ = control.SetWriteDeadline(time.Now().Add(apiDeadline))
			if err := json.NewEncoder(w).Encode(metricsDocument(j, r.Host)); err != nil || control.Flush() != nil {
				return // the client has gone
			}
			if !task.Pause(r.Context(), interval) {
				return
			}
			if now, err := b.Jobs.Get(r.Context(), j.ID); err == nil {
				j = now
			} else if r.Context().Err() == nil {
				b.Log.Warn("status of a job not read", zap.String("job", j.ID), zap.Error(err))
			}
		}
	}), nil
}

// metricsDocument is madmin's RealtimeMetrics with one job.
func metricsDocument(j *jobs.Job, host string) any {
	type batchJobs struct {
		Collected time.Time            `json:"collected"`
		Jobs      map[string]jobMetric `json:"Jobs"`
	}
	type aggregated struct {
		BatchJobs batchJobs `json:"batchJobs"`
	}
	return struct {
		Hosts      []string   `json:"hosts"`
		Aggregated aggregated `json:"aggregated"`
		Final      bool       `json:"final"`
	}{[]string{host}, aggregated{batchJobs{time.Now().UTC(), map[string]jobMetric{j.ID: metricOf(j)}}}, false}
}
