package line

import "testing"

func FuzzScan(f *testing.F) {
	for _, s := range []string{
		"cpu,host=a usage=1.5,n=3i,ok=true,s=\"x\\\"y\" 1700000000000000000\n",
		"m f=\"a\nb\" 1\n# c\n\nm f=1\n", `m\,x,a\ b=c\=d f\ g=1`, "m,b=1,a=2,b=3 f=1\n", "m f=1e400,g=.5,h=-3i 9223372036854775807\n",
	} {
		f.Add([]byte(s), uint8(0))
	}
	f.Fuzz(func(t *testing.T, body []byte, p uint8) { agree(t, body, Precision(p%6)) })
}
