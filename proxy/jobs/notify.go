package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// notifyTimeout limits a notification.
const notifyTimeout = 10 * time.Second

// notify tells the endpoint of the settings that the job has ended. A failure
// is logged.
func (e *Engine) notify(ctx context.Context, j *Job) {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	if err := post(ctx, j); err != nil {
		e.Log.Warn("notification of the end of a job failed", zap.String("job", j.ID), zap.Error(err))
	}
}

// post sends the job, without its token, to its endpoint.
func post(ctx context.Context, j *Job) error {
	sent := *j
	sent.Settings.Notify.Token = ""
	body, err := json.Marshal(&sent)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, j.Settings.Notify.Endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if j.Settings.Notify.Token != "" {
		r.Header.Set("Authorization", j.Settings.Notify.Token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s answered %s", r.URL.Host, resp.Status)
	}
	return nil
}
