package e2e
import ("testing";"strings";"fmt"
"github.com/aws/aws-sdk-go-v2/aws"
"github.com/aws/aws-sdk-go-v2/service/s3")
func TestProbeLimits(t *testing.T){ onStores(t, func(t *testing.T, r *rig){
 g:=r.faultGateway(t,"",nil); d:=r.direct(t)
 for _,l:=range strings.Split(g.LogTail(10000),"\n"){ if strings.Contains(l,"state open"){t.Log(l)}}
 max:=0
 for _,n:=range []int{1500,1900,2000,2040,2048,2100,3000,4000,6000,7000,8000,9000,16000,32000,60000} {
  _,err:=d.PutObject(t.Context(),&s3.PutObjectInput{Bucket:aws.String(plainBucket),Key:aws.String("m"),Body:strings.NewReader("x"),Metadata:map[string]string{"a":strings.Repeat("x",n)}})
  if err==nil {max=n} else {t.Log(n,statusOf(err)); break}
 }
 t.Log("one value up to",max)
 // exact
 c:=sdkOf(t,g)
 lo,hi:=0,4000
 for lo<hi { m:=(lo+hi+1)/2
  _,err:=c.PutObject(t.Context(),&s3.PutObjectInput{Bucket:aws.String(sealedBucket),Key:aws.String("m"),Body:strings.NewReader("x"),Metadata:map[string]string{"a":strings.Repeat("x",m)}})
  if err==nil {lo=m} else {hi=m-1}}
 t.Log("through gateway sealed: one value with name 'a' up to",lo)
 h:=load(t,d,sealedBucket,"m"); t.Log("header len",len(h.metadata[headerName]))
 put:=func(in *s3.PutObjectInput) string { in.Bucket=aws.String(plainBucket); in.Key=aws.String("c"); in.Body=strings.NewReader("x"); o,err:=d.PutObject(t.Context(),in); if err!=nil {return fmt.Sprint(statusOf(err))}; return "200 "+aws.ToString(o.ETag)}
 t.Log("inm first", put(&s3.PutObjectInput{IfNoneMatch:aws.String("*")}))
 t.Log("inm second", put(&s3.PutObjectInput{IfNoneMatch:aws.String("*")}))
 t.Log("im wrong", put(&s3.PutObjectInput{IfMatch:aws.String("\"00000000000000000000000000000000\"")}))
 t.Log("im right", put(&s3.PutObjectInput{IfMatch:aws.String("\"9dd4e461268c8034f5c8564e155c67a6\"")}))
 // race: 20 concurrent if-none-match
 for round:=range 10 { res:=make(chan string,20)
 for range 20 { go func(){ _,err:=d.PutObject(t.Context(),&s3.PutObjectInput{Bucket:aws.String(plainBucket),Key:aws.String(fmt.Sprint("race",round)),Body:strings.NewReader("x"),IfNoneMatch:aws.String("*")}); res<-fmt.Sprint(statusOf(err)) }() }
 m:=map[string]int{}; for range 20 { m[<-res]++ }; t.Log("race",m) }
})}
