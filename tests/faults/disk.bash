# A data root on a small file system of its own, and how to fill it, free it and make it fail.

# small_data OPTIONS: the data root of the engine ENGINE_NAME becomes a tmpfs (size=…,nr_inodes=…).
small_data() {
  DATA=$(engine_dir)/data
  export DATA
  mkdir -p "$DATA"
  mount -t tmpfs -o "mode=711,$1" tmpfs "$DATA"
}

# loop_data MIB MKFS-OPTION…: it becomes an ext4 on a loop device over a file on a tmpfs of MIB MiB, BACKING.
loop_data() {
  local size=$1 device
  shift
  DATA=$(engine_dir)/data BACKING=$(engine_dir)/backing
  export DATA BACKING
  mkdir -p "$DATA" "$BACKING"
  mount -t tmpfs -o "size=${size}m" tmpfs "$BACKING"
  truncate -s 128M "$BACKING/disk"
  mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$@" "$BACKING/disk"
  device=$(losetup -f --show "$BACKING/disk" 2>/dev/null) || skip "loop devices do not work here"
  echo "$device" >"$(engine_dir)/loop"
  mount -t ext4 "$device" "$DATA"
  chmod 711 "$DATA"
}

drop_data() { # after the daemon and its containers are gone
  eventually 10 umount "$DATA" || umount -l "$DATA"
  if [ -e "$(engine_dir)/loop" ]; then
    losetup -d "$(cat "$(engine_dir)/loop")"
    rm "$(engine_dir)/loop"
    eventually 10 umount "$BACKING" || umount -l "$BACKING"
  fi
}

fill_disk() { # [DIRECTORY]: to the last block
  head -c 2G /dev/zero >>"${1:-$DATA}/fill" 2>/dev/null || true
  # what a larger write left over
  while head -c 4096 /dev/zero >>"${1:-$DATA}/fill" 2>/dev/null; do :; done
}
free_disk() { rm -f "${1:-$DATA}/fill"; }

fill_inodes() {
  mkdir -p "$DATA/inodes"
  local number=0
  while : 2>/dev/null >"$DATA/inodes/$number"; do number=$((number + 1)); done
}
free_inodes() { rm -rf "$DATA/inodes"; }
