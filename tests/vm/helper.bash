# For tests that hold only in the virtual machine. Anywhere else they skip.

VM_REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=/dev/null
source "$VM_REPOSITORY/tests/conformance/oci/helper.bash"

vm_only() { [ "$(hostname)" = gantry-vm ] || skip "is for the virtual machine (tests/vm/run)"; }
