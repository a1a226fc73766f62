package raspberrypi

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// card matches whole cards: neither partitions nor the boot areas of an eMMC.
var card = regexp.MustCompile(`^mmcblk[0-9]+$`)

// addCards adds a line for each SD card and eMMC.
func addCards(b *plugins.Batch) {
	for _, folder := range glob("block/mmcblk*") {
		name := filepath.Base(folder)
		if !card.MatchString(name) {
			continue
		}
		kind, _ := text(filepath.Join(folder, "device/type"))
		product, _ := text(filepath.Join(folder, "device/name"))
		p := b.Point("raspberrypi_card").Tag("device", name).Tag("type", kind).Tag("name", product)
		if n, ok := written(filepath.Join(folder, "stat")); ok {
			p.Int("written_bytes", n)
		}
		addWear(p, filepath.Join(folder, "device"))
	}
}

// In stat the seventh number is that of sectors written, which are of 512 bytes
// whatever the card has.
const statWritten, sectorBytes = 6, 512

func written(stat string) (int64, bool) {
	s, ok := text(stat)
	fields := strings.Fields(s)
	if !ok || len(fields) <= statWritten {
		return 0, false
	}
	sectors, err := strconv.ParseInt(fields[statWritten], 10, 64)
	return sectors * sectorBytes, err == nil
}

// addWear adds what an eMMC says of its own wear; 0 is its word for not known.
func addWear(p *plugins.Point, folder string) {
	if life, ok := text(filepath.Join(folder, "life_time")); ok {
		for i, code := range strings.Fields(life) {
			if v, ok := parseHex(code); ok && v > 0 && i < len(lifeNames) {
				p.Int(lifeNames[i], int64(v))
			}
		}
	}
	if v, ok := hexadecimal(filepath.Join(folder, "pre_eol_info")); ok && v > 0 {
		p.Int("pre_eol", int64(v))
	}
}

var lifeNames = [...]string{"life_time_a", "life_time_b"}

// addExt4 adds a line for each ext4 file system that is mounted.
func addExt4(b *plugins.Batch) {
	for _, folder := range glob("fs/ext4/*") {
		p := b.Point("raspberrypi_ext4").Tag("device", filepath.Base(folder))
		if kB, ok := number(filepath.Join(folder, "lifetime_write_kbytes")); ok {
			p.Int("lifetime_written_bytes", kB*1024)
		}
		if kB, ok := number(filepath.Join(folder, "session_write_kbytes")); ok {
			p.Int("session_written_bytes", kB*1024)
		}
		intField(p, "errors_count", filepath.Join(folder, "errors_count"))
	}
}
