package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"ssegw/e2e/stack"
)

// objects are how many objects TestMigration has.
type objects struct {
	plain  int // that are in the bucket before the gateway, in plaintext
	sealed int // that are sealed already
	hot    int // that clients write and delete meanwhile; a multiple of 4
	locked int // with versions, holds and retention, in a bucket of their own
	rate   int // that the job may do in a second
	step   int // that a process does before it is killed
}

// The other stores of the suite are slower, and make stores has much to do.
var (
	manyObjects = objects{plain: 4500, sealed: 500, hot: 200, locked: 50, rate: 300, step: 700}
	fewObjects  = objects{plain: 450, sealed: 50, hot: 40, locked: 10, rate: 20, step: 60}
)

// migration is a bucket that is encrypted while clients use it.
type migration struct {
	*rig
	t      *testing.T
	bucket string
	first  *stack.Gateway // that clients use
	second *stack.Gateway
	bodies map[string]content // what objects must have that no client touches
	n      objects

	hasTags, hasLocks bool
	hasLoad           bool // the store has conditional writes, so clients may write meanwhile

	mu  sync.Mutex
	hot map[string]*content // what the last write of a client left; nil: deleted
}

// TestMigration encrypts a bucket of 5,000 objects in place, while clients write
// and delete, and processes are killed. Then it verifies, counts and rekeys
// them, and retires the old key. No object is lost, and no write of a client.
func TestMigration(t *testing.T) {
	t.Parallel()
	long(t)
	onStores(t, func(t *testing.T, r *rig) {
		m := &migration{rig: r, t: t, bucket: "terabytes", bodies: map[string]content{}, hot: map[string]*content{}}
		m.hasTags, m.hasLocks, m.hasLoad, m.n = may(t, "tags"), may(t, "locks"), may(t, "load"), fewObjects
		if r.name == stack.StoreMinIO || r.name == stack.StoreVersitygw {
			m.n = manyObjects
		}
		m.first = r.gateway(t, false)
		m.second = must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: m.first}))(t)
		m.fill()
		if m.hasLocks {
			m.fillLocked()
		}
		done := make(chan struct{})
		var clients sync.WaitGroup
		for i := range m.workers() {
			clients.Go(func() { m.use(i, done) })
		}
		m.encrypt()
		close(done)
		clients.Wait()
		m.check("after encrypt")
		if m.hasLocks {
			m.wantLocked()
		}

		wantSSEGW(t, r, m.first, "verify", m.bucket)
		if err := r.kes.CreateKey(t.Context(), "new-key"); err != nil {
			t.Fatal(err)
		}
		m.wantNeeds(m.first.KeyName, "is still needed by")
		m.retire()
		m.check("after the old key is gone")
	})
}

// fill makes the objects that were there before, straight in the store, and
// those that the gateway has sealed since.
func (m *migration) fill() {
	direct, client := m.direct(m.t), sdkOf(m.t, m.first)
	makeBucket(m.t, direct, m.bucket)
	sizes := []int64{0, 1, 100, 4096, 65535, 65536, 65537, 200_000}
	inParallel(16, m.n.plain+m.n.sealed, func(i int) {
		key, body := fmt.Sprintf("%d/ü +%%/%05d", i%7, i), content{uint64(i), sizes[i%len(sizes)]}
		m.mu.Lock()
		m.bodies[key] = body
		m.mu.Unlock()
		in := &s3.PutObjectInput{
			Bucket: &m.bucket, Key: &key, Body: body.reader(), ContentLength: &body.size,
			Metadata: map[string]string{"number": fmt.Sprint(i)}, ContentType: aws.String("text/plain"),
		}
		if m.hasTags && i%10 == 0 {
			in.Tagging = aws.String("number=" + fmt.Sprint(i))
		}
		if i < m.n.plain {
			_ = must(direct.PutObject(m.t.Context(), in))(m.t)
			return
		}
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &m.first.KeyName
		_ = must(client.PutObject(m.t.Context(), in))(m.t)
	})
	for i := range 5 {
		key, body := fmt.Sprintf("parts/%d", i), content{uint64(i), 10*mib + int64(i)*777_777}
		m.bodies[key] = body
		putAsIn(m.t, direct, m.bucket, key, body)
	}
	for i := range m.n.hot {
		key, body := fmt.Sprintf("hot/%03d", i), content{uint64(i), 1000}
		m.hot[key] = &body
		_ = must(direct.PutObject(m.t.Context(), &s3.PutObjectInput{Bucket: &m.bucket, Key: &key, Body: body.reader()}))(m.t)
	}
	_ = must(client.PutBucketEncryption(m.t.Context(), &s3.PutBucketEncryptionInput{
		Bucket: &m.bucket, ServerSideEncryptionConfiguration: rule(m.first.KeyName),
	}))(m.t)
}

// inParallel calls f with the numbers below n, several at a time.
func inParallel(parallel, n int, f func(i int)) {
	var workers sync.WaitGroup
	todo := make(chan int)
	for range parallel {
		workers.Go(func() {
			for i := range todo {
				f(i)
			}
		})
	}
	for i := range n {
		todo <- i
	}
	close(todo)
	workers.Wait()
}

// workers is how many clients write and delete while the bucket is encrypted.
func (m *migration) workers() int {
	if m.hasLoad {
		return 4
	}
	return 0
}

// use writes and deletes hot objects until done is closed. Each object belongs
// to one caller, which repeats a request until it is answered. So the last
// request is what must be found.
func (m *migration) use(worker int, done <-chan struct{}) {
	random := rand.New(rand.NewPCG(uint64(worker), 1))
	client := sdkOf(m.t, m.first)
	for n := uint64(1); ; n++ {
		select {
		case <-done:
			return
		default:
		}
		key := fmt.Sprintf("hot/%03d", 4*random.IntN(m.n.hot/4)+worker)
		var want *content
		if random.IntN(4) > 0 {
			want = &content{n<<8 + uint64(worker), random.Int64N(100_000)}
		}
		m.untilAnswered(func() error {
			if want == nil {
				_, err := client.DeleteObject(m.t.Context(), &s3.DeleteObjectInput{Bucket: &m.bucket, Key: &key})
				return err
			}
			_, err := client.PutObject(m.t.Context(), &s3.PutObjectInput{Bucket: &m.bucket, Key: &key, Body: want.reader(), ContentLength: &want.size})
			return err
		})
		m.mu.Lock()
		m.hot[key] = want
		m.mu.Unlock()
	}
}

// untilAnswered repeats a request while the gateway is away.
func (m *migration) untilAnswered(request func() error) {
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := request()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			m.t.Errorf("a client gave up: %v", err)
			return
		}
	}
}

// encrypt encrypts the bucket. It kills the process that began, and then each
// gateway in turn, which may have taken the job over.
func (m *migration) encrypt() {
	args := writing(m.hasLoad, "encrypt", "--max-objects", fmt.Sprint(m.n.rate), m.bucket)
	cmd := commandOf(m.t, m.rig, m.first, args...)
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.progressed(1)
	if err := cmd.Process.Kill(); err != nil {
		m.t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for _, g := range []*stack.Gateway{m.first, m.second} {
		m.progressed(int64(m.n.step))
		if err := g.Kill(); err != nil {
			m.t.Fatal(err)
		}
		if err := g.Start(m.t.Context()); err != nil {
			m.t.Fatal(err)
		}
	}
	out, status := runSSEGW(m.t, m.rig, m.first, args...)
	m.t.Logf("exit status %d\n%s", status, out)
	if status != 0 {
		m.t.Error("encrypt is not complete")
	}
}

// progressed waits until the newest job has done n more objects.
func (m *migration) progressed(n int64) {
	m.t.Helper()
	begin := int64(-1)
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		list := m.jobs()
		if len(list) == 0 {
			continue
		}
		done := list[0].done()
		if begin < 0 {
			begin = done
		}
		if done >= begin+n || list[0].Status == "finished" {
			return
		}
	}
	m.t.Fatal("the job makes no progress")
}

// listedJob is a job as ssegw jobs --json shows it.
type listedJob struct {
	ID, Status      string
	Counts, Ongoing map[string]struct{ Objects, Bytes int64 }
	Notes           []string
}

func (j *listedJob) done() (n int64) {
	for _, c := range j.Counts {
		n += c.Objects
	}
	for _, c := range j.Ongoing {
		n += c.Objects
	}
	return n
}

func (m *migration) jobs() (list []listedJob) {
	m.t.Helper()
	out, status := runSSEGW(m.t, m.rig, m.first, "jobs", "--json")
	if status != 0 {
		m.t.Fatalf("ssegw jobs: %s", out)
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		m.t.Fatal(err)
	}
	return list
}

// check reads all objects through the gateway, and looks whether the store has
// any in plaintext.
func (m *migration) check(when string) {
	m.t.Helper()
	client, direct := sdkOf(m.t, m.second), m.direct(m.t)
	want := map[string]*content{}
	for key, body := range m.bodies {
		want[key] = &body
	}
	for key, body := range m.hot {
		want[key] = body
	}
	var keys []string
	for key := range want {
		keys = append(keys, key)
	}
	inParallel(16, len(keys), func(i int) {
		key, body := keys[i], want[keys[i]]
		got, err := client.GetObject(m.t.Context(), &s3.GetObjectInput{Bucket: &m.bucket, Key: &key})
		var missing *types.NoSuchKey
		switch {
		case body == nil:
			if !errors.As(err, &missing) {
				m.t.Errorf("%s: %s was deleted, and GET answers %v", when, key, err)
			}
			return
		case err != nil:
			m.t.Errorf("%s: %s: %v", when, key, err)
			return
		}
		if sumOf(got.Body) != body.sum() {
			m.t.Errorf("%s: %s has other bytes", when, key)
		}
		if !strings.HasPrefix(key, "hot/") && !strings.HasPrefix(key, "parts/") {
			number := key[strings.LastIndex(key, "/")+1:]
			if fmt.Sprintf("%05s", got.Metadata["number"]) != number || aws.ToString(got.ContentType) != "text/plain" {
				m.t.Errorf("%s: %s has %v and %s", when, key, got.Metadata, aws.ToString(got.ContentType))
			}
			if tagged := m.hasTags && strings.HasSuffix(number, "0"); tagged != (aws.ToInt32(got.TagCount) == 1) {
				m.t.Errorf("%s: %s has %d tags", when, key, aws.ToInt32(got.TagCount))
			}
		}
		head, err := direct.HeadObject(m.t.Context(), &s3.HeadObjectInput{Bucket: &m.bucket, Key: &key})
		if err != nil || head.Metadata["ssegw"] == "" {
			m.t.Errorf("%s: %s is in plaintext in the store, %v", when, key, err)
		}
	})
}

// fillLocked makes objects with locks, in a bucket with versions.
func (m *migration) fillLocked() {
	direct := m.direct(m.t)
	bucket := m.bucket + "-locked"
	if err := makeLocked(m.t.Context(), direct, bucket); err != nil {
		m.t.Fatal(err)
	}
	for i := range m.n.locked {
		for range 2 { // two versions
			_ = must(direct.PutObject(m.t.Context(), &s3.PutObjectInput{
				Bucket: &bucket, Key: aws.String(fmt.Sprintf("%02d", i)), Body: content{uint64(i), 1000}.reader(),
				ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatusOn,
				ObjectLockMode:            types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(time.Hour)),
			}))(m.t)
		}
	}
	_ = must(sdkOf(m.t, m.first).PutBucketEncryption(m.t.Context(), &s3.PutBucketEncryptionInput{
		Bucket: &bucket, ServerSideEncryptionConfiguration: rule(m.first.KeyName),
	}))(m.t)
}

// wantLocked encrypts the bucket with locks. Holds and retention stay. The older
// versions cannot be replaced, which the command tells.
func (m *migration) wantLocked() {
	bucket := m.bucket + "-locked"
	args := []string{"encrypt", bucket}
	if !may(m.t, "locks-match") {
		out, _ := runSSEGW(m.t, m.rig, m.first, args...)
		if !strings.Contains(out, "--unconditional") {
			m.t.Errorf("encrypt without conditions:\n%s", out)
		}
		args = writing(false, args...)
	}
	out, status := runSSEGW(m.t, m.rig, m.first, args...)
	if status != 1 || !strings.Contains(out, fmt.Sprintf("older version  %d objects", 2*m.n.locked)) {
		m.t.Errorf("exit status %d\n%s", status, out)
	}
	client := sdkOf(m.t, m.first)
	for i := range m.n.locked {
		key := aws.String(fmt.Sprintf("%02d", i))
		got := must(client.GetObject(m.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: key}))(m.t)
		if sumOf(got.Body) != (content{uint64(i), 1000}).sum() {
			m.t.Errorf("%s has other bytes", *key)
		}
		head := must(client.HeadObject(m.t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: key}))(m.t)
		if head.ObjectLockLegalHoldStatus != types.ObjectLockLegalHoldStatusOn || head.ObjectLockMode != types.ObjectLockModeGovernance ||
			head.ServerSideEncryption != types.ServerSideEncryptionAwsKms {
			m.t.Errorf("%s: %s, %s, %s", *key, head.ObjectLockLegalHoldStatus, head.ObjectLockMode, head.ServerSideEncryption)
		}
	}
}

// wantNeeds fails the test unless the inventory's line about a key has text.
func (m *migration) wantNeeds(key, text string) {
	m.t.Helper()
	out := wantSSEGW(m.t, m.rig, m.first, "inventory", "--key", key, m.bucket)
	if m.t.Log(out); !strings.Contains(out, text) || strings.Count(out, "\n") != 1 {
		m.t.Errorf("the inventory of %s: %q", key, out)
	}
}

// retire moves everything in the bucket from the default key to another one,
// and deletes the old key in KES.
func (m *migration) retire() {
	old := m.first.KeyName
	_ = must(sdkOf(m.t, m.first).PutBucketEncryption(m.t.Context(), &s3.PutBucketEncryptionInput{
		Bucket: &m.bucket, ServerSideEncryptionConfiguration: rule("new-key"),
	}))(m.t)
	m.t.Log(wantSSEGW(m.t, m.rig, m.first, writing(m.hasLoad, "rekey", "--from", old, "--key", "new-key", m.bucket)...))
	// The root is sealed under the default key, until a gateway starts with
	// another one.
	for _, g := range []*stack.Gateway{m.first, m.second} {
		if err := g.Stop(m.t.Context()); err != nil {
			m.t.Fatal(err)
		}
		g.KeyName = "new-key"
		g.Env["MINIO_KMS_KES_KEY_NAME"] = "new-key"
		if err := g.Start(m.t.Context()); err != nil {
			m.t.Fatal(err)
		}
	}
	if m.hasLocks {
		_ = must(sdkOf(m.t, m.first).DeleteBucketEncryption(m.t.Context(), &s3.DeleteBucketEncryptionInput{Bucket: aws.String(m.bucket + "-locked")}))(m.t)
	}
	m.wantNeeds(old, "nothing in terabytes needs the key")
	if err := m.kes.DeleteKey(old); err != nil {
		m.t.Fatal(err)
	}
}
