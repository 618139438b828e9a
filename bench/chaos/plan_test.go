package chaos

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

func testOptions() Options {
	o := DefaultOptions()
	o.Clients, o.Pushes, o.Duration = 20, 5000, 20*time.Second
	o.Windows = []Window{{2 * time.Second, 3 * time.Second}, {10 * time.Second, 12 * time.Second}}
	return o
}

func TestASeedFixesPushesAndLives(t *testing.T) {
	a, b, other := NewPlan(7, testOptions()), NewPlan(7, testOptions()), NewPlan(8, testOptions())
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed gave two plans")
	}
	if reflect.DeepEqual(a.Pushes, other.Pushes) {
		t.Error("two seeds gave one plan")
	}
	la, lb, lo := a.Lives(3), b.Lives(3), a.Lives(4)
	same := 0
	for range 100 {
		x, y, z := la.Next(), lb.Next(), lo.Next()
		if x != y {
			t.Fatalf("one seed gave the lives %+v and %+v", x, y)
		}
		if x == z {
			same++
		}
	}
	if same > 0 {
		t.Errorf("two clients share %d of 100 lives", same)
	}
}

func TestAPlanIsUnkind(t *testing.T) {
	p := NewPlan(7, testOptions())
	total, inside, broadcast, twin := 0, 0, 0, 0
	for i, list := range p.Pushes {
		for n, push := range list {
			total++
			if push.N != n+1 || n > 0 && push.At < list[n-1].At {
				t.Fatalf("producer %d: push %d is out of order", i+1, push.N)
			}
			if w := p.Options.Windows; push.At >= w[0].From && push.At <= w[0].To || push.At >= w[1].From && push.At <= w[1].To {
				inside++
			}
			if push.Client < 0 {
				broadcast++
			}
			if push.Twin > 0 {
				twin++
				if other := list[push.Twin-1]; other.Client != push.Client || other.Twin != 0 {
					t.Errorf("push %+v is the twin of %+v", push, other)
				}
			}
		}
	}
	if total != p.Options.Pushes || inside < total/2 || broadcast == 0 || twin == 0 {
		t.Errorf("of %d pushes %d are in windows, %d broadcasts, %d twins", total, inside, broadcast, twin)
	}
	ends := map[End]int{}
	acks := map[AckHabit]int{}
	var sum time.Duration
	lives := p.Lives(0)
	for range 2000 {
		l := lives.Next()
		ends[l.End]++
		acks[l.Ack]++
		sum += l.Lasts
	}
	if len(ends) != 6 || len(acks) != 3 || sum/2000 < 4*time.Second || sum/2000 > 6*time.Second {
		t.Errorf("ends %v, acks %v, %s on average", ends, acks, sum/2000)
	}
}

func TestAPushHasTheSameDataEachTimeAndNoOtherHasIt(t *testing.T) {
	if !bytes.Equal(dataOf(7, 1, 2), dataOf(7, 1, 2)) || bytes.Equal(dataOf(7, 1, 2), dataOf(7, 1, 3)) || bytes.Equal(dataOf(7, 1, 2), dataOf(7, 2, 2)) {
		t.Error("data is not one push's own")
	}
	producer, n, err := parseTopic(topicOf(3, 41))
	if producer != 3 || n != 41 || err != nil {
		t.Errorf("the topic reads as %d, %d, %v", producer, n, err)
	}
}

func TestAnswersAreReadAsTheyAreMeant(t *testing.T) {
	for _, c := range []struct {
		status int
		text   string
		want   Result
	}{
		{201, `{"id":"12"}`, Accepted},
		{202, `{"id":"12"}`, Accepted},
		{503, `{"code":50300}`, Refused},
		{429, `{"code":42900}`, Refused},
		{404, `{"code":40401}`, Refused},
		{504, `{"code":50400}`, Unknown},
		{500, `{"code":50000}`, Unknown},
		{502, `<html>`, Unknown},
		{503, `{}`, Unknown},
		{200, `{}`, Unknown},
	} {
		if got := judgeAnswer(c.status, []byte(c.text)); got.Result != c.want {
			t.Errorf("%d %s reads as %s, want %s", c.status, c.text, got.Result, c.want)
		}
	}
}

func TestLogsAreReadAsTheyWereWritten(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadRun(dir); err == nil {
		t.Error("a folder without logs was read")
	}
	j, err := NewJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Event{{Kind: Connected, Conn: 1, Incarnation: "i"}, {Kind: Received, Conn: 1, Seq: 1, ID: "12", Producer: 1, Push: 2}}
	for _, name := range []string{producerLog + "1", clientLog + "a", conductorLog} {
		l, err := j.open(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range want {
			l.Add(e)
		}
		want = l.events
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	ev, err := ReadRun(dir)
	if err != nil || len(ev.Producers) != 1 || len(ev.Clients) != 1 || ev.Clients[0].Name != "a" || len(ev.Conductor) != 2 {
		t.Fatalf("read %+v, %v", ev, err)
	}
	if !reflect.DeepEqual(ev.Conductor, want) {
		t.Errorf("read %+v, wrote %+v", ev.Conductor, want)
	}
}

func TestAThirdOfTheClientsSealsAndHalfOfTheirPushesRequireIt(t *testing.T) {
	o := testOptions()
	o.Clients, o.Seal = 240, true
	p := NewPlan(7, o)
	kinds := map[string]int{}
	for i := range o.Clients {
		kinds[p.Seal(i)]++
	}
	if kinds[""] != 160 || kinds[sealCRT] != 60 || kinds[sealAEAD] != 20 {
		t.Errorf("clients seal as %v", kinds)
	}
	to, required := 0, 0
	for _, list := range p.Pushes {
		for _, push := range list {
			kind := p.Seal(push.Client)
			if push.Seal != "" && push.Seal != kind {
				t.Fatalf("%+v requires what its client, which seals %q, does not do", push, kind)
			}
			if kind != "" {
				to++
			}
			if push.Seal != "" {
				required++
			}
		}
	}
	if to < o.Pushes/4 || required < to/3 || required > 2*to/3 {
		t.Errorf("of %d pushes %d are to clients that seal, %d require it", o.Pushes, to, required)
	}
	o.Seal = false
	if NewPlan(7, o).Seal(0) != "" {
		t.Error("a client seals though none is to")
	}
}
