package disk

// Placer is a file system that can be asked for a folder apart from others.
type Placer interface {
	// MakeApart makes a folder, if it is missing, away from what lies beside it.
	MakeApart(dir string) error
}

// MakeApart asks for a folder to be made, if it is missing, away from what else lives on the disk; its own folders follow
// it. It is a hint that changes nothing but speed: where it is not understood the folder is made when it is needed.
//
// What it is for: ext4 puts the files of neighboring folders into one table of inodes. Without a journal it looks, for
// each file that it makes there, at all that were deleted in that table during the last minutes, whoever deleted them; a
// ledger makes two files for 256 records.
func MakeApart(on FS, dir string) error {
	if p, ok := on.(Placer); ok {
		return p.MakeApart(dir)
	}
	return nil
}
