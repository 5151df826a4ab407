"""Tiny real tokenizers of the three families, learnt in a second from the sentences below (written for these tests)."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from edgecompress.encoder.nmt import nmt

SLOVAK = (
    "Dnes ráno pršalo a cesta do školy bola mokrá.",
    "Moja stará mama pečie najlepší jablkový koláč v dedine.",
    "Vlak do Košíc mešká dvadsať minút, prosím, počkajte.",
    "Deti sa hrajú na dvore a pes na ne hlasno šteká.",
    "V zime chodíme na hory lyžovať a v lete sa kúpať k jazeru.",
    "Učiteľka sa opýtala, kto si prečítal celú knihu.",
    "Na trhu predávajú čerstvé jahody, čerešne a zeleninu.",
    "Rieka Dunaj tečie cez hlavné mesto Bratislavu.",
    "Otec opravuje starý bicykel, lebo nové stojí veľa peňazí.",
    "Večer sme sedeli pri ohni a rozprávali si príbehy.",
    "Lekár povedal, že chorý musí ležať aspoň tri dni.",
    "Študenti píšu skúšku z dejín a potom idú domov.",
    "Môj brat hrá na gitare a sestra spieva v zbore.",
    "V obchode bolo veľa ľudí, a preto sme dlho čakali.",
    "Prečo si mi nezavolal, keď si prišiel do mesta?",
    "Ak bude pekné počasie, pôjdeme v sobotu na výlet.",
    "Mačka spí na okne a slnko jej hreje chrbát.",
    "Nová cesta medzi mestami skrátila čas jazdy o hodinu.",
    "Ďakujem vám za list, ktorý prišiel včera poobede.",
    "Hasiči rýchlo uhasili požiar v starej továrni.",
    "Tento rok bola úroda zemiakov lepšia než vlani.",
    "Keď som bol malý, chcel som byť pilotom lietadla.",
    "Vláda schválila nový zákon o ochrane lesov a vôd.",
    "Kôň beží po lúke a vietor mu češe hrivu.",
)
SWAHILI = (
    "Leo asubuhi mvua ilinyesha na barabara ya shule ilikuwa na maji.",
    "Bibi yangu anapika chakula kizuri sana kijijini.",
    "Treni ya kwenda Mombasa imechelewa dakika ishirini.",
    "Watoto wanacheza uwanjani na mbwa anabweka kwa sauti.",
    "Mwalimu aliuliza nani amesoma kitabu chote.",
    "Sokoni wanauza matunda mapya, mboga na samaki.",
    "Mto mkubwa unapita katikati ya mji wetu.",
    "Baba anatengeneza baiskeli ya zamani kwa sababu mpya ni ghali.",
    "Jioni tulikaa karibu na moto tukasimuliana hadithi.",
    "Daktari alisema mgonjwa apumzike kwa siku tatu.",
    "Wanafunzi wanaandika mtihani wa historia kisha wanaenda nyumbani.",
    "Kaka yangu anapiga gitaa na dada anaimba kanisani.",
    "Dukani kulikuwa na watu wengi, kwa hiyo tulisubiri sana.",
    "Kwa nini hukunipigia simu ulipofika mjini?",
    "Kama hali ya hewa itakuwa nzuri, tutasafiri Jumamosi.",
    "Paka amelala dirishani na jua linampa joto.",
    "Asante kwa barua iliyofika jana mchana.",
    "Mwaka huu mavuno ya mahindi ni bora kuliko mwaka jana.",
    "Nilipokuwa mdogo nilitaka kuwa rubani wa ndege.",
    "Serikali imepitisha sheria mpya ya kulinda misitu na maji.",
    "Wavuvi walirudi pwani kabla ya jua kuchomoza.",
    "Mkulima alipanda miti mia moja shambani mwake.",
)
SENTENCES = SLOVAK + SWAHILI


def _special(*names: str) -> list[AddedToken]:
    return [AddedToken(name, normalized=False, special=True) for name in names]


@cache
def _unigram_json() -> str:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([*nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    head = ["<s>", "<pad>", "</s>", "<unk>"]
    unknown = {"unk_token": "<unk>"}
    trainer = trainers.UnigramTrainer(vocab_size=320, special_tokens=head, show_progress=False, **unknown)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    # Outside of the model's vocabulary, at the highest id, as XLM-R has it.
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer.to_str()


@cache
def _wordpiece_json() -> str:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    head = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=360, special_tokens=head, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer.to_str()


@cache
def _bpe_json() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=_special("<s>", "<pad>", "</s>", "<unk>"),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer.to_str()


def unigram() -> Tokenizer:
    """XLM-R's kind: Unigram, Metaspace, ``<s> A </s>``; ``<mask>`` last."""
    return Tokenizer.from_str(_unigram_json())


def wordpiece() -> Tokenizer:
    """BERT's kind: cased WordPiece, ``[CLS] A [SEP] B [SEP]`` with types 0 and 1."""
    return Tokenizer.from_str(_wordpiece_json())


def bpe() -> Tokenizer:
    """RoBERTa's kind: byte-level BPE; ``<mask>`` last."""
    return Tokenizer.from_str(_bpe_json())


SHARED = Path(os.environ.get("EDGECOMPRESS_DATA", Path(__file__).parents[2] / "shared" / "data"))


def real(name: str) -> Path:
    """A real tokenizer's file, or the test is skipped: it stands beside the data of EDGECOMPRESS_DATA."""
    path = SHARED.parent / "tokenizers" / name
    if not path.is_file() or not (SHARED / "text").is_dir():
        pytest.skip(f"the real tokenizer or text is not here: {path}")
    return path
