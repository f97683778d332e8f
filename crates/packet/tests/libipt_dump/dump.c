/* The packets of a raw Intel PT stream as libipt reads them, one a line:
 *
 *     offset(hex) TAB kind [TAB payload]
 *
 * in the form of `havana packets --format tsv`. Used by mod.rs.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <intel-pt.h>

static void print_ip(const char *kind, const struct pt_packet_ip *ip)
{
	printf("%s\tipc=%x ip=%" PRIx64, kind, (unsigned)ip->ipc, ip->ip);
}

static void print_tnt(const char *kind, const struct pt_packet_tnt *tnt)
{
	int bit;

	printf("%s\t", kind);
	for (bit = tnt->bit_size - 1; bit >= 0; bit--)
		putchar((tnt->payload >> bit) & 1 ? 'T' : 'N');
}

static void print_mode(const struct pt_packet_mode *mode, uint8_t payload)
{
	/* The interrupt flag is younger than some libipts. */
	if (mode->leaf == pt_mol_exec)
		printf("mode.exec\tcs.l=%u cs.d=%u if=%u", (unsigned)mode->bits.exec.csl,
		       (unsigned)mode->bits.exec.csd, payload >> 2 & 1u);
	else
		printf("mode.tsx\tintx=%u abort=%u", (unsigned)mode->bits.tsx.intx,
		       (unsigned)mode->bits.tsx.abrt);
}

static void print_packet(const struct pt_packet *packet, const uint8_t *bytes)
{
	switch (packet->type) {
	case ppt_pad: printf("pad"); break;
	case ppt_psb: printf("psb"); break;
	case ppt_psbend: printf("psbend"); break;
	case ppt_ovf: printf("ovf"); break;
	case ppt_stop: printf("stop"); break;
	case ppt_tip: print_ip("tip", &packet->payload.ip); break;
	case ppt_tip_pge: print_ip("tip.pge", &packet->payload.ip); break;
	case ppt_tip_pgd: print_ip("tip.pgd", &packet->payload.ip); break;
	case ppt_fup: print_ip("fup", &packet->payload.ip); break;
	case ppt_tnt_8: print_tnt("tnt8", &packet->payload.tnt); break;
	case ppt_tnt_64: print_tnt("tnt64", &packet->payload.tnt); break;
	case ppt_mode: print_mode(&packet->payload.mode, bytes[1]); break;
	case ppt_pip:
		printf("pip\tcr3=%" PRIx64 " nr=%u", packet->payload.pip.cr3, packet->payload.pip.nr ? 1u : 0u);
		break;
	case ppt_vmcs: printf("vmcs\t%" PRIx64, packet->payload.vmcs.base); break;
	case ppt_tsc: printf("tsc\t%" PRIx64, packet->payload.tsc.tsc); break;
	case ppt_cbr: printf("cbr\t%x", packet->payload.cbr.ratio); break;
	case ppt_tma: printf("tma\tctc=%x fc=%x", packet->payload.tma.ctc, packet->payload.tma.fc); break;
	case ppt_mtc: printf("mtc\t%x", packet->payload.mtc.ctc); break;
	case ppt_cyc: printf("cyc\t%" PRIx64, packet->payload.cyc.value); break;
	case ppt_mnt: printf("mnt\t%" PRIx64, packet->payload.mnt.payload); break;
	case ppt_exstop: printf("exstop\tip=%u", packet->payload.exstop.ip ? 1u : 0u); break;
	case ppt_mwait:
		printf("mwait\thints=%x ext=%x", packet->payload.mwait.hints & 0xff, packet->payload.mwait.ext & 3);
		break;
	case ppt_pwre:
		printf("pwre\tstate=%x sub=%x hw=%u", packet->payload.pwre.state, packet->payload.pwre.sub_state,
		       packet->payload.pwre.hw ? 1u : 0u);
		break;
	case ppt_pwrx:
		printf("pwrx\tlast=%x deepest=%x wake=%x", packet->payload.pwrx.last, packet->payload.pwrx.deepest,
		       bytes[3] & 0xfu);
		break;
	case ppt_ptw:
		printf("ptw\t%" PRIx64 " bytes=%d ip=%u", packet->payload.ptw.payload,
		       pt_ptw_size(packet->payload.ptw.plc), packet->payload.ptw.ip ? 1u : 0u);
		break;
	default: printf("type %d", (int)packet->type); break;
	}
}

int main(int argc, char **argv)
{
	static char buffer[1 << 16];
	struct pt_packet_decoder *decoder;
	struct pt_config config;
	uint8_t *bytes;
	FILE *file;
	long size;
	int status;

	if (argc != 2 || !(file = fopen(argv[1], "rb")))
		return 2;
	if (fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET))
		return 2;
	bytes = malloc((size_t)size + 1);
	if (!bytes || fread(bytes, 1, (size_t)size, file) != (size_t)size)
		return 2;
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));

	pt_config_init(&config);
	config.begin = bytes;
	config.end = bytes + size;
	decoder = pt_pkt_alloc_decoder(&config);
	if (!decoder)
		return 2;

	for (status = pt_pkt_sync_forward(decoder); status >= 0;) {
		struct pt_packet packet;
		uint64_t offset;

		pt_pkt_get_offset(decoder, &offset);
		status = pt_pkt_next(decoder, &packet, sizeof(packet));
		if (status < 0) {
			if (status != -pte_eos || offset != (uint64_t)size)
				printf("%" PRIx64 "\tbad\t%s\n", offset, pt_errstr(pt_errcode(status)));
			break;
		}
		printf("%" PRIx64 "\t", offset);
		print_packet(&packet, bytes + offset);
		putchar('\n');
	}
	return fflush(stdout) ? 2 : 0;
}
